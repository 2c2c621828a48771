"""Who is woken when events or pokes are committed: this process by a call, or all processes by a NOTIFY."""

from collections.abc import Iterator
from itertools import takewhile

import psycopg
import pytest

from orchestrator import protos as pb
from orchestrator.core.pokes import queue
from orchestrator.dispatch.listener import WRITTEN
from orchestrator.engine import batches, heartbeats, outbox
from orchestrator.engine.transaction import EVENTS, Database, Transaction
from tests.kit.database import tell
from tests.kit.member import Member


class Woken:
    """Counts how often it was woken, and that the events could be read then."""

    def __init__(self, url: str) -> None:
        self.events: list[int] = []
        self.waiting: list[frozenset[str]] = []
        self._url = url

    def __call__(self, waiting: frozenset[str]) -> None:
        self.waiting.append(waiting)
        with psycopg.connect(self._url) as connection:
            row = connection.execute("SELECT count(*) FROM events").fetchone()
        self.events.append(row[0] if row else 0)


@pytest.fixture
def woken(database: Database) -> Woken:
    return Woken(database.url)


@pytest.fixture
def waking(database: Database, woken: Woken) -> Iterator[Database]:
    waking = Database(database.url, 2, written=woken)
    yield waking
    waking.close()


@pytest.fixture
def listener(database: Database) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(f"LISTEN {WRITTEN}")
        yield connection


def notes(listener: "psycopg.Connection[tuple[object, ...]]") -> int:
    """Return how many notifications of earlier commits have come: a NOTIFY of its own comes after them."""
    listener.execute(f"NOTIFY {WRITTEN}, 'the last'")
    return len(list(takewhile(lambda note: note.payload != "the last", listener.notifies())))


def create(transaction: Transaction) -> None:
    tell(transaction, "plan")


def fail(transaction: Transaction) -> None:
    create(transaction)
    raise ValueError("the use case fails")


def read(transaction: Transaction) -> None:
    assert transaction.connection


def test_a_commit_wakes_its_own_process_and_does_not_notify(waking: Database, woken: Woken, listener) -> None:
    for expected in (1, 2):
        waking.run("org-1", "ours", create)
        assert woken.events == list(range(1, expected + 1))
    assert woken.waiting == [{EVENTS}] * 2
    assert notes(listener) == 0


def test_who_has_written_nothing_or_was_rolled_back_wakes_nobody(waking: Database, woken: Woken, listener) -> None:
    waking.run("org-1", "ours", read)
    with pytest.raises(ValueError, match="the use case fails"):
        waking.run("org-1", "ours", fail)
    assert woken.events == []
    assert notes(listener) == 0


def test_who_can_wake_nobody_notifies(database: Database, listener) -> None:
    database.run("org-1", "ours", read)
    assert notes(listener) == 0
    database.run("org-1", "ours", create)
    assert notes(listener) == 1


def test_a_lane_is_woken_by_its_pokes_and_by_room_for_those_that_wait(waking: Database, woken: Woken) -> None:
    """Not by each claim: where nothing waits to be sent, the relay has nothing to look for."""
    member = Member(waking)
    lane = queue(member.organization)
    parent, another = member.register(2)
    child = member.below(parent)
    assert woken.waiting[-2:] == [{EVENTS, lane}, {EVENTS}], "a task that must wait is no poke"
    member.claim(another)
    assert woken.waiting[-1] == {EVENTS, lane}, "the parent's poke is not sent yet, and may have room now"
    assert len(member.send()) == 2
    attempt = member.claim(parent).attempt
    assert woken.waiting[-1] == {EVENTS}
    member.complete(attempt)
    assert woken.waiting[-1] == {EVENTS, lane}, "the child is to be poked for"
    member.start(child)
    assert woken.waiting[-1] == {EVENTS, lane}


def test_claims_wake_the_lane_when_half_of_the_room_is_free(waking: Database, woken: Woken) -> None:
    """Of two slots six pokes are out: until three of them are claimed the relay has no need to send more."""
    member = Member(waking)
    lane = queue(member.organization)
    tasks = member.register(9)
    member.call(heartbeats.heartbeat, pb.HeartbeatParam(node="node-1", slots=2))
    with waking.begin() as connection:
        taken = outbox.take(connection, lane, 100, waking.rules.silence)
        outbox.mark_sent(connection, lane, [identity for identity, _ in taken])
    assert len(taken) == 6
    told = []
    for task in tasks[:5]:
        member.claim(task)
        told.append(woken.waiting[-1])
    assert told == [{EVENTS}, {EVENTS}, {EVENTS, lane}, {EVENTS, lane}, {EVENTS, lane}]
    claims = [pb.ClaimTaskParam(compute_task_key=str(task), claim_id="one") for task in tasks[5:7]]
    waking.run(member.organization, member.channel, lambda transaction: batches.claim(transaction, claims))
    assert woken.waiting[-1] == {EVENTS, lane}


def test_a_heartbeat_wakes_the_lane_of_its_queue_only_where_pokes_wait(waking: Database, woken: Woken) -> None:
    member = Member(waking)
    member.register(1)
    member.heartbeat()
    assert woken.waiting[-1] == {queue(member.organization)}
    member.send()
    before = len(woken.waiting)
    member.heartbeat()
    assert len(woken.waiting) == before
