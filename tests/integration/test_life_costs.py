"""What the life of a task writes: it does not depend on the machine, and is held to a limit."""

import uuid
from collections.abc import Iterator

import psycopg
import pytest

from orchestrator import protos as pb
from orchestrator.compute import models
from orchestrator.engine.transaction import Database
from orchestrator.trace import places
from tests.kit import messages
from tests.kit.member import Member

LIVES, AT_ONCE = 40, 8
MOST_WAL = 8_000
"""Bytes."""


@pytest.fixture
def alone(database: Database) -> Iterator[Member]:
    """A member all of whose calls take the same connection."""
    single = Database(database.url, pool_size=1)
    try:
        yield Member(single)
    finally:
        single.close()


def older(member: Member, task: uuid.UUID) -> None:
    member.start(task)
    member.call(models.register, pb.RegisterModelsParam(models=[messages.new_model(str(task))]))
    member.end(task, pb.TASK_ACTION_DONE)


def claimed(member: Member, task: uuid.UUID) -> None:
    attempt = member.claim(task).attempt
    member.complete(attempt, messages.new_model(str(task)))


def live(member: Member, life, tasks: list[uuid.UUID]) -> None:
    """Run tasks as eight clients do, whose events get their places together."""
    for first in range(0, len(tasks), AT_ONCE):
        for task in tasks[first : first + AT_ONCE]:
            life(member, task)
        with member.database.begin() as connection:
            places.place(connection, 5000)


def wal(member: Member) -> int:
    member.rows("SELECT pg_stat_force_next_flush()")
    ((written,),) = member.rows("SELECT wal_bytes FROM pg_stat_get_backend_wal(pg_backend_pid())")
    return int(written)


def updates(member: Member, table: str) -> tuple[int, int]:
    """Return how many rows of a table were updated, and how many of them without a write to an index."""
    member.rows("SELECT pg_stat_force_next_flush()")
    query = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = :table"
    ((all_, hot),) = member.rows(query, table=table)
    return all_, hot


@pytest.mark.parametrize("life", [older, claimed])
def test_a_life_writes_little(alone: Member, life) -> None:
    tasks = alone.register(LIVES)
    alone.send()
    live(alone, life, tasks[:AT_ONCE])
    before = wal(alone)
    live(alone, life, tasks[AT_ONCE:])
    written = (wal(alone) - before) / (LIVES - AT_ONCE)
    assert 1_000 < written < MOST_WAL, written


def test_a_transition_writes_no_index(alone: Member) -> None:
    parents = alone.register(LIVES)
    for parent in parents:
        alone.below(parent)
    live(alone, older, parents)
    all_, hot = updates(alone, "task_states")
    assert all_ >= 3 * LIVES
    assert hot >= 0.95 * all_


def test_an_event_and_its_place_are_written_once(alone: Member) -> None:
    tasks = alone.register(LIVES)
    live(alone, older, tasks)
    alone.rows("SELECT pg_stat_force_next_flush()")
    told = alone.rows("""
        SELECT sum(n_tup_ins), sum(n_tup_upd) FROM pg_stat_user_tables
        WHERE relname IN ('places', 'unplaced') OR relname LIKE 'events%'
    """)
    ((written, updated),) = told
    assert written >= 3 * 4 * LIVES
    assert updated == 0


def test_a_heartbeat_writes_no_index(alone: Member) -> None:
    (task,) = alone.register()
    attempt = alone.claim(task).attempt
    for _ in range(LIVES):
        alone.heartbeat(attempt)
    all_, hot = updates(alone, "attempts")
    assert all_ == LIVES
    assert hot >= 0.95 * all_


def test_those_who_share_a_latch_write_nothing_for_it(database: Database, network: Member) -> None:
    (task,) = network.register()
    network.start(task)
    lock = "SELECT CAST(xmax AS text) FROM plans WHERE key = :key"
    before = network.rows(lock, key=network.plan.key)
    with psycopg.connect(database.url) as first, psycopg.connect(database.url) as second:
        for connection in (first, second):
            connection.execute("SELECT share_latch(%s)", [network.plan.key])
        network.end(task, pb.TASK_ACTION_DONE)
        assert network.rows(lock, key=network.plan.key) == before
