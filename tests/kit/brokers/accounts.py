"""Brokers with accounts that `orchestrator broker provision` has made, and those who send and receive with them."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from celery import Celery
from kombu import Connection

from orchestrator.broker import connection, credentials
from orchestrator.broker.credentials import Credentials
from orchestrator.core import pokes
from tests.kit.processes import clean_environment

ORGANIZATIONS = ("a", "b")


@dataclass(frozen=True)
class Broker:
    """A broker that runs.

    Args:
        url: of its administrator.
        provisioning: more arguments of `orchestrator broker provision`.
        environment: more of its environment.
    """

    url: str
    provisioning: Sequence[str]
    environment: Mapping[str, str]

    def provision(self, *arguments: str, url: str | None = None) -> "subprocess.CompletedProcess[str]":
        """Run `orchestrator broker provision` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "orchestrator", "broker", "provision", *self.provisioning, *arguments],
            env=clean_environment({**self.environment, "ORCHESTRATOR_BROKER_URL": url or self.url}),
            capture_output=True,
            text=True,
            timeout=120,
        )


@dataclass(frozen=True)
class Provisioned:
    """A broker with the accounts of two organizations."""

    broker: Broker
    credentials: Credentials
    file: Path

    def url(self, organization: str) -> str:
        """Return the URL of an organization's account."""
        return self.credentials.organizations[organization]

    def writing(self, organization: str) -> str:
        """Return the URL that the server reaches an organization's queue with."""
        return self.credentials.relay.get(organization, self.url(organization))


def provisioned(broker: Broker, folder: Path) -> Provisioned:
    """Make the accounts of both organizations."""
    file = folder / "brokers.yaml"
    arguments = [word for organization in ORGANIZATIONS for word in ("--org", organization)]
    done = broker.provision(*arguments, "--output", str(file))
    assert done.returncode == 0, done.stderr
    made = credentials.read(file)
    assert made is not None
    return Provisioned(broker, made, file)


@contextmanager
def speaking(url: str, organization: str) -> Iterator[Celery]:
    """Open a Celery app as both sides of an organization's queue do, whoever's URL it is."""
    with Celery("test", set_as_current=False) as app:
        app.conf.update(connection.organization(url, organization))
        yield app


def send(url: str, organization: str, task: str) -> None:
    """Poke an organization."""
    with speaking(url, organization) as app, app.connection_for_write() as connection:
        app.send_task(pokes.RUN_TASK, kwargs={"task": task, "attempt": 1}, connection=connection, retry=False)


def receive(url: str, organization: str) -> dict[str, Any] | None:
    """Take a poke of an organization; None if there is none."""
    with speaking(url, organization) as app, app.connection_for_read() as connection:
        message = connection.default_channel.basic_get(pokes.queue(organization), no_ack=True)
        return None if message is None else connection.default_channel.message_to_python(message).payload[1]


def elsewhere(url: str, organization: str) -> str:
    """Return a RabbitMQ's URL with an organization's vhost."""
    return url.rpartition("/")[0] + "/" + quote(pokes.account(organization), safe="")


def waiting(url: str, organization: str) -> int:
    """Return how many pokes lie in an organization's queue that nobody has been given."""
    with speaking(url, organization) as app, app.connection_for_read() as connection:
        queue = app.amqp.queues[pokes.queue(organization)](connection.default_channel)
        return int(queue.queue_declare().message_count)


def connected(url: str) -> None:
    """Connect, and no more.

    Raises:
        Exception: what the broker says.
    """
    with Connection(url, connect_timeout=4) as connection:
        connection.connect()
