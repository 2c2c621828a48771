"""TLS to a broker: its certificate is verified, and its name, unless its URL says not.

A URL with the scheme rediss, valkeys or amqps may have the parameters `ssl_ca_certs`, `ssl_certfile` and `ssl_keyfile`
(files), `ssl_cert_reqs` (`required` or `none`) and `ssl_check_hostname` (`true` or `false`).
"""

import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import structlog

log = structlog.get_logger()

_SCHEMES = ("rediss", "valkeys", "amqps")


def options(url: str) -> dict[str, Any] | None:
    """Return Celery's `broker_use_ssl` for a broker, None without TLS; what the URL says overrides it.

    A URL that turns the verification off is named in the log.
    """
    parts = urlsplit(url.partition(";")[0])
    if parts.scheme not in _SCHEMES:
        return None
    asked = parse_qs(parts.query)
    unverified = asked.get("ssl_cert_reqs", ["required"])[-1].upper() in ("NONE", "CERT_NONE")
    if unverified or asked.get("ssl_check_hostname", ["true"])[-1].lower() == "false":
        log.warning(
            "broker.unverified",
            host=parts.hostname,
            reason="its URL turns the verification of its " + ("certificate" if unverified else "host name") + " off",
        )
    return {"ssl_cert_reqs": ssl.CERT_REQUIRED}


def amqp_options(asked: Mapping[str, Any], host: str) -> dict[str, Any]:
    """Return the same for py-amqp, which has other names for it.

    Args:
        asked: with Redis's names, as Kombu has them from the URL.
        host: whose name the certificate must bear.
    """
    reqs = asked.get("ssl_cert_reqs", ssl.CERT_REQUIRED)
    verified = reqs != ssl.CERT_NONE
    options = {
        "ca_certs": asked.get("ssl_ca_certs"),
        "certfile": asked.get("ssl_certfile"),
        "keyfile": asked.get("ssl_keyfile"),
        "cert_reqs": reqs,
    }
    # py-amqp checks the name that it is given.
    return {**options, "server_hostname": host} if verified and asked.get("ssl_check_hostname", True) else options
