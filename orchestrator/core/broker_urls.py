"""URLs of brokers, as settings and files have them."""

from typing import Annotated

from pydantic import AfterValidator, SecretStr

_SCHEMES = ("redis", "rediss", "valkey", "valkeys", "sentinel", "amqp", "amqps", "pyamqp")


def check(url: str) -> str:
    """Return the URL of a broker, or several with `;` between them, of which the first that answers is used.

    Raises:
        ValueError: one of them is none that a worker could read; it is not told, since it may hold a password.
    """
    for each in url.split(";"):
        scheme, separator, host = each.partition("://")
        if not separator or not host or scheme not in _SCHEMES:
            raise ValueError(
                "the URL of a broker is expected here, as in redis://host:6379/0 or amqp://user:password@host/vhost "
                f"(schemes {', '.join(_SCHEMES)})"
            )
    return url


def _checked(url: SecretStr) -> SecretStr:
    check(url.get_secret_value())
    return url


BrokerUrl = Annotated[SecretStr, AfterValidator(_checked)]
"""A setting that is the URL of a broker."""
