"""A queue that nobody reads is emptied with the rights of its organization's account, in order with its pokes."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import kombu.exceptions
import pytest
import structlog.testing

from orchestrator.core import pokes
from orchestrator.dispatch.brokers import Brokers
from orchestrator.dispatch.relay import Relay
from orchestrator.embedded.ports import HOST, free_port
from orchestrator.engine import nodes, outbox
from orchestrator.engine.sweeps import stale_queues
from orchestrator.engine.transaction import Database
from tests.kit.brokers.accounts import ORGANIZATIONS, Provisioned, receive, waiting

# The first test of RabbitMQ installs it where it is missing.
pytestmark = pytest.mark.timeout(600)

DAY = timedelta(days=1)


@pytest.fixture
def relay(database: Database, broker: Provisioned) -> Iterator[Relay]:
    own = {organization: broker.writing(organization) for organization in ORGANIZATIONS}
    relay = Relay(database, Brokers(None, lambda: own), batch=2)
    try:
        yield relay
    finally:
        relay.close()


def ask(database: Database, organization: str, amount: int = 1) -> list[str]:
    keys = [uuid.uuid4() for _ in range(amount)]
    database.run(organization, "channel", lambda t: [t.pokes.run(pokes.queue(organization), key, 1) for key in keys])
    return list(map(str, keys))


def away(database: Database, organization: str) -> None:
    """Have the queue of an organization emptied, as the sweep does once its last node is silent."""
    database.run(organization, "channel", lambda t: nodes.hear(t, "node-1", 0, pokes.queue(organization), 1))
    assert stale_queues.empty(database, datetime.now(UTC) + 2 * DAY, 10, age=DAY) == 1


def send_all(relay: Relay, organization: str) -> None:
    while relay.send(pokes.queue(organization)):
        pass


def test_what_was_sent_before_goes_and_what_comes_after_stays(
    database: Database, broker: Provisioned, relay: Relay
) -> None:
    ask(database, "a", 5)
    (other,) = ask(database, "b")
    send_all(relay, "b")
    send_all(relay, "a")
    ask(database, "a", 2)
    away(database, "a")
    later = ask(database, "a", 3)
    with structlog.testing.capture_logs() as logs:
        send_all(relay, "a")
    assert [entry["pokes"] for entry in logs if entry["event"] == "queue.emptied"] == [7]
    received = [receive(broker.url("a"), "a") for _ in range(4)]
    assert received == [*({"task": task, "attempt": 1} for task in later), None]
    assert receive(broker.url("b"), "b") == {"task": other, "attempt": 1}


def test_a_queue_that_was_never_made_is_empty(database: Database, broker: Provisioned, relay: Relay) -> None:
    away(database, "a")
    assert relay.send("org.a") == 1
    assert waiting(broker.url("a"), "a") == 0


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_is_down_keeps_it_in_the_outbox(database: Database, scheme: str) -> None:
    away(database, "a")
    relay = Relay(database, Brokers(f"{scheme}://{HOST}:{free_port()}"))
    try:
        with pytest.raises(kombu.exceptions.OperationalError):
            relay.send("org.a")
    finally:
        relay.close()
    with database.engine.connect() as connection:
        assert outbox.waiting(connection) == ["org.a"]
