"""The URLs that the accounts of a broker are reached with, and the file that keeps them."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import yaml

from orchestrator.core import documents, pokes

_PASSWORD_BYTES = 24


@dataclass(frozen=True)
class Credentials:
    """The URLs with their passwords: never log them.

    Args:
        organizations: organization -> URL of its workers.
        maintenance: URL of the maintenance worker and its beat.
        flower: URL of Flower; on RabbitMQ its vhost is the maintenance worker's, put another in to see another.
        relay: organization -> URL of the server, where an organization's own may not write its queue: on Redis and
            Valkey. There it is the same for all.
        queues: queue that is no organization's -> URL of those who read it.
    """

    organizations: Mapping[str, str] = field(repr=False)
    maintenance: str = field(repr=False)
    flower: str = field(repr=False)
    relay: Mapping[str, str] = field(repr=False, default_factory=dict)
    queues: Mapping[str, str] = field(repr=False, default_factory=dict)

    @property
    def passwords(self) -> dict[str, str]:
        """The password of each account, by its name."""
        urls = {
            **{pokes.account(organization): url for organization, url in self.organizations.items()},
            **{pokes.account_of(queue): url for queue, url in self.queues.items()},
            pokes.MAINTENANCE: self.maintenance,
            pokes.FLOWER: self.flower,
            **dict.fromkeys([pokes.RELAY] if self.relay else [], next(iter(self.relay.values()), "")),
        }
        return {account: unquote(urlsplit(url).password or "") for account, url in urls.items()}

    def dump(self) -> str:
        """Return the content of the file that keeps them, as ORCHESTRATOR_BROKER_URLS wants it."""
        return yaml.safe_dump(
            {
                "organizations": dict(self.organizations),
                **({"queues": dict(self.queues)} if self.queues else {}),
                "relay": dict(self.relay),
                "maintenance": self.maintenance,
                "flower": self.flower,
            },
            sort_keys=False,
        )


def make(
    broker_url: str, organizations: Iterable[str], known: Credentials | None = None, queues: Iterable[str] = ()
) -> Credentials:
    """Return the credentials of these organizations and queues, and of those known before, whose passwords are kept.

    Args:
        broker_url: where they are reached; whose user and password it holds does not matter.
        organizations: their ids.
        known: what was made before.
        queues: names of queues that are no organization's, as a kind of work may have.

    Raises:
        ValueError: a queue is an organization's, or has the name of an account of ours.
    """
    passwords = known.passwords if known else {}
    everyone = dict.fromkeys([*(known.organizations if known else ()), *organizations])
    others = dict.fromkeys([*(known.queues if known else ()), *queues])
    for queue in others:
        if pokes.organization_of(queue) is not None or queue in (pokes.MAINTENANCE, pokes.RELAY, pokes.FLOWER):
            raise ValueError(f"queue {queue} has an account already; an organization's is made by its id")

    def url(account: str, vhost: str) -> str:
        password = passwords.get(account) or secrets.token_urlsafe(_PASSWORD_BYTES)
        parts = urlsplit(broker_url)
        host = parts.netloc.rpartition("@")[2]
        path = parts.path if pokes.on_redis(broker_url) else "/" + quote(vhost, safe="")
        netloc = f"{quote(account, safe='')}:{quote(password, safe='')}@{host}"
        return parts._replace(netloc=netloc, path=path).geturl()

    writing = url(pokes.RELAY, "")
    return Credentials(
        organizations={
            organization: url(pokes.account(organization), pokes.account(organization)) for organization in everyone
        },
        relay=dict.fromkeys([*everyone, *others], writing) if pokes.on_redis(broker_url) else {},
        maintenance=url(pokes.MAINTENANCE, pokes.MAINTENANCE),
        flower=url(pokes.FLOWER, pokes.MAINTENANCE),
        queues={queue: url(pokes.account_of(queue), pokes.account_of(queue)) for queue in others},
    )


def read(file: Path) -> Credentials | None:
    """Return what a file keeps, None if there is no file.

    Raises:
        DocumentError: it holds something else; the message repeats nothing of it.
    """
    try:
        known = ("organizations", "queues", "relay", "maintenance", "flower")
        parts = documents.read(file.read_bytes(), str(file)).mapping(*known)
        return Credentials(
            {organization: url.text() for organization, url in parts["organizations"].mapping().items()},
            parts["maintenance"].text(),
            parts["flower"].text(),
            {organization: url.text() for organization, url in parts["relay"].mapping().items()},
            {queue: url.text() for queue, url in parts["queues"].mapping().items()},
        )
    except FileNotFoundError:
        return None
    except documents.DocumentError as error:
        raise documents.DocumentError(
            f"{file} was not written by `orchestrator broker provision`; name another file, or remove it: {error}"
        ) from error
