"""Each organization's pokes have a lane of their own: the broker of one holds up nobody else's."""

import asyncio
import contextlib
import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog.testing

from orchestrator.core import pokes
from orchestrator.dispatch.brokers import Brokers
from orchestrator.dispatch.pump import Pump
from orchestrator.dispatch.relay import Relay
from orchestrator.embedded.ports import HOST, free_port
from orchestrator.embedded.valkey import Valkey
from orchestrator.engine import outbox
from orchestrator.engine.transaction import Database
from tests.kit.brokers.accounts import Provisioned, receive
from tests.kit.waiting import wait_until


@pytest.fixture
def broker_of_its_own(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path / "own")
    yield server
    server.stop()


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a broker that accepts connections, and never says a word."""
    with socket.create_server((HOST, 0)) as listener:
        yield f"redis://{HOST}:{listener.getsockname()[1]}/0"


@asynccontextmanager
async def running(database: Database, brokers: Brokers) -> AsyncIterator[Relay]:
    """Run a relay as the server does."""
    relay = Relay(database, brokers, batch=10)
    pump = asyncio.create_task(Pump("relay", relay.step, 0.05).run())
    try:
        yield relay
    finally:
        pump.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pump
        await relay.stop()
        relay.close()


def ask(database: Database, organization: str, amount: int = 1) -> list[str]:
    keys = [uuid.uuid4() for _ in range(amount)]
    database.run(organization, "channel", lambda t: [t.pokes.run(pokes.queue(organization), key, 1) for key in keys])
    return list(map(str, keys))


def unsent(database: Database) -> list[str]:
    with database.engine.connect() as connection:
        return [queue.removeprefix("org.") for queue in outbox.waiting(connection)]


async def until(condition, timeout: float = 60.0, message: str = "") -> None:
    await asyncio.to_thread(wait_until, condition, timeout, message)


def test_brokers_that_are_down_or_hang_hold_up_nobody_else(
    database: Database, on_valkey: Provisioned, broker_of_its_own: Valkey, silent: str
) -> None:
    down, gone = broker_of_its_own.url, f"amqp://{HOST}:{free_port()}"
    brokers = Brokers(None, lambda: {"a": silent, "b": on_valkey.writing("b"), "c": down, "d": gone})

    async def scenario() -> None:
        first = {organization: ask(database, organization, 25) for organization in ("a", "b", "c", "d")}
        async with running(database, brokers) as relay:
            await until(lambda: unsent(database) == ["a", "c", "d"], 3, "the pokes of b")
            # Nor those that come while the others are being tried again.
            second = ask(database, "b", 25)
            await until(lambda: unsent(database) == ["a", "c", "d"], 3, "the pokes of b that came later")
            received = [receive(on_valkey.url("b"), "b") for _ in range(51)]
            assert received == [*({"task": task, "attempt": 1} for task in first["b"] + second), None]
            broker_of_its_own.start()
            lags = relay.lags()
            await until(lambda: unsent(database) == ["a", "d"], 60, "the pokes of c once its broker is back")
            await until(lambda: relay.lags()["org.c"] == relay.lags()["org.b"] == 0, message="no lag of b and c")
            assert all(relay.lags()[queue] > lags[queue] > 0 for queue in ("org.a", "org.d"))
            received = [receive(down, "c") for _ in range(26)]
            assert received == [*({"task": task, "attempt": 1} for task in first["c"]), None]

    asyncio.run(scenario())


def test_pokes_of_an_organization_without_a_broker_stay_and_are_told_once(
    database: Database, on_valkey: Provisioned
) -> None:
    brokers = Brokers(None, lambda: {"b": on_valkey.writing("b")})

    async def scenario() -> None:
        ask(database, "nobody")
        async with running(database, brokers):
            for _ in range(3):
                (task,) = ask(database, "b")
                await until(lambda: unsent(database) == ["nobody"], message="the poke of b")
                assert receive(on_valkey.url("b"), "b") == {"task": task, "attempt": 1}

    with structlog.testing.capture_logs() as logs:
        asyncio.run(scenario())
    assert [entry for entry in logs if entry["event"] == "relay.no_broker"] == [
        {
            "event": "relay.no_broker",
            "queue": "org.nobody",
            "reason": "there is no URL for it",
            "log_level": "warning",
        }
    ]


def test_an_organization_that_has_left_every_channel_is_poked_no_more(
    database: Database, on_valkey: Provisioned
) -> None:
    brokers = Brokers(on_valkey.broker.url, lambda: {"a": on_valkey.writing("a")}, members=lambda: ["b"])

    async def scenario() -> None:
        ask(database, "a", 3)
        async with running(database, brokers):
            for _ in range(3):
                (task,) = ask(database, "b")
                await until(lambda: unsent(database) == ["a"], message="the poke of b")
                assert receive(on_valkey.broker.url, "b") == {"task": task, "attempt": 1}

    with structlog.testing.capture_logs() as logs:
        asyncio.run(scenario())
    assert [(entry["queue"], entry["reason"]) for entry in logs if entry["event"] == "relay.no_broker"] == [
        ("org.a", "its organization is in no channel")
    ]
    assert receive(on_valkey.url("a"), "a") is None


def test_organizations_without_a_broker_of_their_own_share_one(database: Database, on_valkey: Provisioned) -> None:
    url = on_valkey.broker.url
    brokers = Brokers(url, lambda: {"b": on_valkey.writing("b")})

    async def scenario() -> None:
        asked = {organization: ask(database, organization)[0] for organization in ("a", "b", "e")}
        async with running(database, brokers):
            await until(lambda: not unsent(database), message="all pokes")
        for organization, task in asked.items():
            assert receive(url, organization) == {"task": task, "attempt": 1}
            assert receive(url, organization) is None

    asyncio.run(scenario())


def test_urls_and_members_that_change_are_followed(database: Database, on_valkey: Provisioned) -> None:
    urls = {"a": f"redis://{HOST}:{free_port()}"}
    members = ["a"]
    brokers = Brokers(None, lambda: urls, members=lambda: members)

    async def scenario() -> None:
        ask(database, "a")
        async with running(database, brokers):
            assert unsent(database) == ["a"]
            urls["a"] = on_valkey.writing("a")
            await until(lambda: not unsent(database), 60, "the poke of a at its new broker")
            members.remove("a")
            ask(database, "a")
            members.append("b")
            urls["b"] = on_valkey.writing("b")
            ask(database, "b")
            await until(lambda: unsent(database) == ["a"], 60, "the poke of b, a new member")

    asyncio.run(scenario())
