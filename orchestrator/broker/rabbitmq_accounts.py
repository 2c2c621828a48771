"""Accounts on RabbitMQ: a vhost and a user each, who has no rights elsewhere.

They are one document of definitions, imported by `rabbitmqctl` on the broker's machine, which needs no plugin, or over
HTTP where the management plugin is enabled. Both leave alone what the document does not name. A password is in it as
its salted hash only.
"""

import base64
import json
import secrets
import subprocess
from hashlib import sha256
from urllib.parse import unquote, urlsplit

import httpx

from orchestrator.broker.credentials import Credentials
from orchestrator.core import pokes

_SECONDS = 60
_ALL = {"configure": ".*", "write": ".*", "read": ".*"}
_LOOK = r"^(celeryev(\..*)?|celery\.pidbox|([0-9a-f-]+\.)?reply\.celery\.pidbox)$"
_CONTROL = {"configure": _LOOK, "write": _LOOK, "read": _LOOK}


class RabbitMQError(Exception):
    """RabbitMQ did not take the accounts; the message says why."""


def definitions(credentials: Credentials) -> dict[str, object]:
    """Return all accounts as a document of RabbitMQ's definitions.

    Each has a vhost and a user of its name with all rights in it; Flower has events and remote control in all.
    """
    passwords = credentials.passwords
    vhosts = [account for account in passwords if account != pokes.FLOWER]
    return {
        "vhosts": [{"name": vhost} for vhost in vhosts],
        "users": [
            {
                "name": account,
                "password_hash": _hash(password),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": "",
            }
            for account, password in passwords.items()
        ],
        "permissions": [
            *({"user": vhost, "vhost": vhost, **_ALL} for vhost in vhosts),
            *({"user": pokes.FLOWER, "vhost": vhost, **_CONTROL} for vhost in vhosts),
        ],
    }


def _hash(password: str) -> str:
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + sha256(salt + password.encode()).digest()).decode()


def import_here(credentials: Credentials, rabbitmqctl: str = "rabbitmqctl") -> None:
    """Make or change the accounts with `rabbitmqctl`, on the broker's machine.

    Args:
        credentials: of all accounts.
        rabbitmqctl: the program; it is told of the node by RABBITMQ_NODENAME, as always.

    Raises:
        RabbitMQError: it is not installed, or failed; with the last line it said.
    """
    command = [rabbitmqctl, "--quiet", "import_definitions", "--format", "json"]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(definitions(credentials)),
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


def import_over_http(credentials: Credentials, management_url: str, broker_url: str) -> None:
    """Make or change the accounts over the management API.

    Args:
        credentials: of all accounts.
        management_url: its root, as in https://host:15671.
        broker_url: whose user and password are an administrator's.

    Raises:
        RabbitMQError: it cannot be reached, or refuses us.
    """
    administrator = urlsplit(broker_url)
    auth = (unquote(administrator.username or "guest"), unquote(administrator.password or "guest"))
    url = f"{management_url.rstrip('/')}/api/definitions"
    try:
        httpx.post(url, json=definitions(credentials), auth=auth, timeout=_SECONDS).raise_for_status()
    except httpx.HTTPStatusError as error:
        raise RabbitMQError(f"{url} answers {error.response.status_code} {error.response.reason_phrase}") from error
    except httpx.HTTPError as error:
        raise RabbitMQError(f"{url} cannot be reached: {error}") from error
