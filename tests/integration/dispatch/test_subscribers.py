"""A thousand subscribers and slow ones, on a real server process."""

import uuid
from collections.abc import Iterator
from itertools import islice
from typing import Any

import psutil
import psycopg
import pytest

from orchestrator import protos as pb
from orchestrator.embedded.postgres import Postgres
from orchestrator.engine.transaction import Database
from tests.kit.database import opened
from tests.kit.organization import ORGANIZATIONS, Organization
from tests.kit.servers import serving
from tests.kit.transports import Wire, connect
from tests.kit.waiting import wait_until

POOL = 4
SESSIONS = POOL + 2
"""The pool's, the listener's, and the one that asks whether the server is ready."""
PLACE_LOCK = 7230291


@pytest.fixture(scope="module")
def url(postgres: Postgres) -> str:
    return postgres.create_database(f"test_{uuid.uuid4().hex}")


@pytest.fixture(scope="module")
def address(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    channels = {name: list(ORGANIZATIONS) for name in ("crowd", "noted", "slow", "lost", "late")}
    settings = {"ORCHESTRATOR_DATABASE_POOL_SIZE": str(POOL)}
    with serving(tmp_path_factory.mktemp("server"), url, channels, settings) as address:
        yield address


@pytest.fixture
def wire(address: str) -> Iterator[Wire]:
    with connect(address) as transport:
        yield Wire(transport)


@pytest.fixture
def database(url: str, address: str) -> Iterator[Database]:
    """The server's database."""
    with opened(url, pool_size=2) as database:
        yield database


def server_process(address: str) -> psutil.Process:
    (process,) = (
        child
        for child in psutil.Process().children()
        if "serve" in child.cmdline() and child.environ().get("ORCHESTRATOR_GRPC_ADDRESS") == address
    )
    return process


def sessions(url: str, condition: str = "true") -> list[int]:
    """Return the clients' sessions in the server's database that meet a condition, without this one."""
    with psycopg.connect(url, autocommit=True) as connection:
        query = (
            "SELECT pid FROM pg_stat_activity "
            "WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid() "
            f"AND {condition}"
        )
        return [row[0] for row in connection.execute(query).fetchall()]


LISTENS = "query LIKE 'LISTEN %'"


def test_a_thousand_idle_subscribers_use_one_listening_connection(url: str, address: str, wire: Wire):
    org = Organization(wire, "org-1", "crowd")
    org.send(pb.RegisterOrganizationParam())
    streams = [org.subscribe(timeout=60) for _ in range(1000)]
    for stream in streams:
        assert next(stream).asset_key == "org-1"
    wait_until(lambda: not sessions(url, "state <> 'idle'"), message="idle subscribers")
    assert len(sessions(url, LISTENS)) == 1
    # The session that asked before may take a moment to go.
    wait_until(lambda: len(sessions(url)) <= SESSIONS, message="no more sessions than a server has without streams")
    plan = org.register_plan()
    for stream in streams:
        assert next(stream).asset_key == plan.key
    last = org.register_plan()
    for stream in streams:
        assert next(stream).asset_key == last.key
        stream.cancel()
    assert len(sessions(url, LISTENS)) == 1
    wait_until(lambda: len(sessions(url)) <= SESSIONS, message="no more sessions than before")


def test_the_server_notes_how_far_its_streams_are(url: str, address: str, wire: Wire):
    org = Organization(wire, "org-3", "noted")
    org.send(pb.RegisterOrganizationParam())
    stream = org.subscribe(timeout=60)
    next(stream)
    plan = org.register_plan()
    assert next(stream).asset_key == plan.key
    query = "SELECT organization, position FROM subscriptions WHERE channel = 'noted'"
    with psycopg.connect(url, autocommit=True) as connection:
        placed = connection.execute("SELECT max(position) FROM places WHERE channel = 'noted'").fetchone()
        assert placed is not None

        def noted() -> bool:
            return connection.execute(query).fetchone() == ("org-3", *placed)

        wait_until(noted, message="the place of the stream")
    stream.cancel()


def write_large(database: Database, channel: str, size: int) -> str:
    key = str(uuid.uuid4())
    plan = pb.ComputePlan(key=key, tag="x" * size)
    database.run("org-1", channel, lambda transaction: transaction.events.created(key, plan))
    return key


def test_slow_subscribers_slow_nobody_and_fill_no_memory(address: str, database: Database, wire: Wire):
    size, amount = 256 * 1024, 300
    process = server_process(address)
    org = Organization(wire, "org-1", "slow")
    org.send(pb.RegisterOrganizationParam())
    with connect(address) as others:
        slow = [Organization(Wire(others), "org-2", "slow").subscribe(timeout=110) for _ in range(8)]
        for stream in slow:
            next(stream)
        quick = org.subscribe(timeout=110)
        next(quick)
        before = process.memory_info().rss
        written = []
        for _ in range(amount):
            written.append(write_large(database, "slow", size))
            assert next(quick).asset_key == written[-1]
        grown = process.memory_info().rss - before
        # Unread are 8 * 75 MiB; the window holds 16 MiB, and a batch 4 MiB for each.
        assert grown < 120 * 2**20, f"{grown / 2**20:.0f} MiB"
        for stream in (slow[0], slow[-1]):
            assert [event.asset_key for event in islice(stream, amount)] == written
        for stream in (*slow, quick):
            stream.cancel()


def test_nothing_is_lost_when_the_listening_connection_breaks(url: str, address: str, wire: Wire):
    org = Organization(wire, "org-1", "lost")
    org.send(pb.RegisterOrganizationParam())
    stream = org.subscribe(timeout=60)
    next(stream)
    keys = []
    for _ in range(2):
        (listener,) = wait_until(lambda: sessions(url, LISTENS), message="a listening connection")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", [listener])
        keys += [org.register_plan().key for _ in range(3)]
        heard = wait_until(lambda listener=listener: set(sessions(url, LISTENS)) - {listener})
        assert len(heard) == 1
        keys.append(org.register_plan().key)
    assert [event.asset_key for event in islice(stream, len(keys))] == keys
    stream.cancel()


def test_a_subscriber_may_resume_from_an_event_that_has_no_place_yet(url: str, wire: Wire):
    org = Organization(wire, "org-1", "late")
    org.send(pb.RegisterOrganizationParam())
    first = org.register_plan()
    with psycopg.connect(url, autocommit=True) as sequencer:
        unplaced_events = "SELECT count(*) FROM unplaced"
        wait_until(lambda: sequencer.execute(unplaced_events).fetchone() == (0,), message="the first event's place")
        sequencer.execute("SELECT pg_advisory_lock(%s)", [PLACE_LOCK])
        second, third = org.register_plan(), org.register_plan()
        (unplaced,) = org.events(asset_key=second.key)
        resumed: Any = org.subscribe(unplaced.id, timeout=60)
        whole: Any = org.subscribe(timeout=60)
        assert [event.asset_key for event in islice(whole, 2)][1:] == [first.key]
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0"
        wait_until(lambda: sequencer.execute(waiting).fetchone() != (0,), message="the server's sequencer")
        sequencer.execute("SELECT pg_advisory_unlock_all()")
    assert next(resumed).asset_key == third.key
    assert [event.asset_key for event in islice(whole, 2)] == [second.key, third.key]
    last = org.register_plan()
    assert next(resumed).asset_key == next(whole).asset_key == last.key
    resumed.cancel()
    whole.cancel()
