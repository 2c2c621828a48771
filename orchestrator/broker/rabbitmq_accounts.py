"""Accounts on RabbitMQ: a vhost and a user each, who has no rights elsewhere.

They are one document of definitions, imported by `rabbitmqctl` on the broker's machine, which needs no plugin, or over
HTTP where the management plugin is enabled. Both leave alone what the document does not name. A password is in it as
its salted hash only.
"""

import base64
import json
import secrets
import subprocess
from collections.abc import Mapping
from hashlib import sha256
from urllib.parse import unquote, urlsplit

import httpx

from orchestrator.broker.credentials import Credentials
from orchestrator.broker.limits import Limits
from orchestrator.core import pokes

_SECONDS = 60
_ALL = {"configure": ".*", "write": ".*", "read": ".*"}
_EXCHANGES = r"celeryev|celery\.pidbox|reply\.celery\.pidbox"
_OWN_QUEUES = r"celeryev\.[0-9a-f-]{36}|[0-9a-f-]{36}\.reply\.celery\.pidbox"
_LOOK = rf"^({_EXCHANGES}|{_OWN_QUEUES})$"
_CONTROL = {"configure": _LOOK, "write": _LOOK, "read": _LOOK}
# A message that ended this many workers is dropped.
_DELIVERIES = 20


class RabbitMQError(Exception):
    """RabbitMQ did not take the accounts; the message says why."""


def definitions(credentials: Credentials, limits: Limits) -> dict[str, object]:
    """Return all accounts as a document of RabbitMQ's definitions.

    Each has a vhost and a user of its name with all rights in it, and limits on both; Flower has events and remote
    control in all.

    Args:
        credentials: of all accounts.
        limits: of each.
    """
    passwords = {name: password for name, password in credentials.passwords.items() if name != pokes.RELAY}
    vhosts = [account for account in passwords if account != pokes.FLOWER]
    return {
        "vhosts": [{"name": vhost} for vhost in vhosts],
        "users": [
            {
                "name": account,
                "password_hash": _hash(password),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": "",
                "limits": {"max-connections": limits.connections, "max-channels": limits.channels},
            }
            for account, password in passwords.items()
        ],
        "permissions": [
            *({"user": vhost, "vhost": vhost, **_ALL} for vhost in vhosts),
            *({"user": pokes.FLOWER, "vhost": vhost, **_CONTROL} for vhost in vhosts),
        ],
        "parameters": [
            {
                "vhost": vhost,
                "component": "vhost-limits",
                "name": "limits",
                "value": {"max-connections": limits.connections, "max-queues": limits.queues},
            }
            for vhost in vhosts
        ],
        "policies": [
            {
                "vhost": vhost,
                "name": "orchestrator",
                "pattern": ".*",
                "apply-to": "queues",
                "priority": 0,
                "definition": {
                    "max-length": limits.messages,
                    "max-length-bytes": limits.size,
                    "overflow": "reject-publish",
                    "delivery-limit": _DELIVERIES,
                },
            }
            for vhost in vhosts
        ],
    }


def _hash(password: str) -> str:
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + sha256(salt + password.encode()).digest()).decode()


def import_here(document: Mapping[str, object], rabbitmqctl: str = "rabbitmqctl") -> None:
    """Make or change the accounts with `rabbitmqctl`, on the broker's machine.

    Args:
        document: of definitions.
        rabbitmqctl: the program; it is told of the node by RABBITMQ_NODENAME, as always.

    Raises:
        RabbitMQError: it is not installed, or failed; with the last line it said.
    """
    command = [rabbitmqctl, "--quiet", "import_definitions", "--format", "json"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(document),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise RabbitMQError(
            f"there is no {rabbitmqctl} here; run this on the broker's machine, or name its management API"
        ) from None
    except subprocess.TimeoutExpired:
        raise RabbitMQError(f"{rabbitmqctl} did not end within {_SECONDS} s") from None
    if done.returncode != 0:
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        raise RabbitMQError(f"{rabbitmqctl} failed: {lines[-1].strip() if lines else done.returncode}")


def import_over_http(document: Mapping[str, object], management_url: str, broker_url: str) -> None:
    """Make or change the accounts over the management API.

    Args:
        document: of definitions.
        management_url: its root, as in https://host:15671.
        broker_url: whose user and password are an administrator's.

    Raises:
        RabbitMQError: it cannot be reached, or refuses us.
    """
    administrator = urlsplit(broker_url)
    auth = (unquote(administrator.username or "guest"), unquote(administrator.password or "guest"))
    url = f"{management_url.rstrip('/')}/api/definitions"
    try:
        # With a transport of its own it takes no proxy of the environment, and still trusts whom that names.
        with httpx.Client(transport=httpx.HTTPTransport(), auth=auth, timeout=_SECONDS) as client:
            client.post(url, json=document).raise_for_status()
    except httpx.HTTPStatusError as error:
        raise RabbitMQError(f"{url} answers {error.response.status_code} {error.response.reason_phrase}") from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise RabbitMQError(f"{url} cannot be reached: {error}") from error
