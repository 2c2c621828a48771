"""What the life of a task writes: it does not depend on the machine, and is held to a limit."""

import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from orchestrator import protos as pb
from orchestrator.compute import agreements, models, task_actions
from orchestrator.engine import batches, together
from orchestrator.engine.together import Call, Together
from orchestrator.engine.transaction import Database
from orchestrator.trace import places
from tests.integration.counted import committing, counting
from tests.kit import messages
from tests.kit.member import Member, at_once

LIVES, AT_ONCE = 40, 8
MANY = 500
"""Children: their states fill several pages."""
MOST_WAL = 8_000
"""Bytes a life."""
MOST_COMMITS = 3
"""A life, one a call; what the sequencer and the relay commit is apart."""
MOST_OF_PUMPS = 0.2
"""Commits a life of sequencer and relay, where eight clients run tasks, and two lives of each gather: one each for all.
"""
MOST_STATEMENTS = 2
"""A call."""
LEAST_HOT = 0.95
"""Of all updates of a life."""
MULTIXACTS = "SELECT mxid_age(datminmxid) FROM pg_database WHERE datname = current_database()"
"""How many were made, by the age of the oldest."""


@pytest.fixture
def alone(database: Database) -> Iterator[Member]:
    """A member all of whose calls take the same connection."""
    # As a server does, it wakes by itself whoever waits for what was written.
    single = Database(database.url, pool_size=1, written=lambda _: None)
    try:
        yield Member(single)
    finally:
        single.close()


def older(member: Member, task: uuid.UUID) -> int:
    member.start(task)
    member.call(models.register, pb.RegisterModelsParam(models=[messages.new_model(str(task))]))
    member.end(task, pb.TASK_ACTION_DONE)
    return 3


def claimed(member: Member, task: uuid.UUID) -> int:
    attempt = member.claim(task).attempt
    member.complete(attempt, messages.new_model(str(task)))
    return 2


def agreed(member: Member, task: uuid.UUID) -> int:
    param = pb.ClaimAgreedParam(
        claim=pb.ClaimTaskParam(compute_task_key=str(task), claim_id=str(task)),
        agreed=[pb.Agreed(function_key=member.function.key, plan_owner=member.organization)],
    )
    answer = member.call(agreements.claim, param)
    member.complete(answer.claimed.attempt, messages.new_model(str(task)))
    return 2


def live(member: Member, life, tasks: list[uuid.UUID]) -> None:
    """Run tasks as eight clients do, whose events get their places together."""
    for first in range(0, len(tasks), AT_ONCE):
        for task in tasks[first : first + AT_ONCE]:
            life(member, task)
        place(member)


def place(member: Member) -> None:
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


def poked(member: Member) -> list[uuid.UUID]:
    """Tasks that have run once, so that none of what follows is the first, and others, of which the relay has told."""
    live(member, claimed, member.register(AT_ONCE))
    tasks = member.register(LIVES)
    assert len(member.send()) == AT_ONCE + LIVES
    return tasks


@pytest.mark.parametrize("life", [older, claimed])
def test_a_life_writes_little(alone: Member, life) -> None:
    tasks = poked(alone)
    before = wal(alone)
    live(alone, life, tasks)
    written = (wal(alone) - before) / LIVES
    assert 1_000 < written < MOST_WAL, written


@pytest.mark.parametrize("life", [older, claimed, agreed])
def test_a_life_takes_few_commits_and_statements(alone: Member, life) -> None:
    for task in poked(alone)[:AT_ONCE]:
        with counting() as statements, committing() as commits:
            calls = life(alone, task)
        assert calls == len(commits) <= MOST_COMMITS
        assert len(statements) <= MOST_STATEMENTS * calls, statements


def test_a_registration_of_a_task_takes_two_statements_and_a_commit(alone: Member) -> None:
    alone.register(AT_ONCE)
    (parent,) = alone.register()
    for register in (alone.register, partial(alone.below, parent)):
        with counting() as statements, committing() as commits:
            register()
        assert (len(statements), len(commits)) == (2, 1), statements


def test_pumps_commit_once_for_all_that_gather(alone: Member) -> None:
    tasks = alone.register(2 * AT_ONCE)
    with committing() as commits:
        alone.send()
    for task in tasks:
        claimed(alone, task)
    with committing() as placing:
        place(alone)
    assert len(commits + placing) <= MOST_OF_PUMPS * len(tasks)
    assert alone.rows("SELECT count(*) FROM unplaced") == [(0,)]


@pytest.mark.parametrize("life", [older, claimed])
def test_what_a_life_updates_is_hot(alone: Member, life) -> None:
    live(alone, life, poked(alone))
    alone.rows("SELECT pg_stat_force_next_flush()")
    # Of the one function: it was registered, and is READY.
    query = "SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE n_tup_upd >= :lives"
    found = {row.relname: (row.n_tup_upd, row.n_tup_hot_upd) for row in alone.rows(query, lives=LIVES)}
    assert found.keys() == {"attempts", "outbox", "task_states"}
    assert sum(hot for _, hot in found.values()) >= LEAST_HOT * sum(all_ for all_, _ in found.values()), found


def test_done_of_a_parent_writes_no_index_of_its_childrens_states(alone: Member) -> None:
    (parent,) = alone.register()
    alone.register(MANY, [str(parent)])
    before, _ = updates(alone, "task_states")
    older(alone, parent)
    all_, hot = updates(alone, "task_states")
    assert all_ == hot >= before + MANY


def go_together(member: Member, method: Together[Any, Any], requests: list[Any]) -> list[Any]:
    calls = [Call(member.organization, member.channel, method, request, begin=lambda _: None) for request in requests]
    done = together.run(member.database.run, calls)
    assert len(done) == len(requests)
    return [each.response for each in done.values()]


def older_together(member: Member, tasks: list[uuid.UUID]) -> int:
    def act(action: Any) -> None:
        asked = [pb.ApplyTaskActionParam(compute_task_key=str(task), action=action) for task in tasks]
        go_together(member, task_actions.apply_together, asked)

    act(pb.TASK_ACTION_EXECUTING)
    new = [pb.RegisterModelsParam(models=[messages.new_model(str(task))]) for task in tasks]
    go_together(member, models.register_together, new)
    act(pb.TASK_ACTION_DONE)
    return 3


def claimed_together(member: Member, tasks: list[uuid.UUID]) -> int:
    asked = [pb.ClaimTaskParam(compute_task_key=str(task), claim_id=messages.new_key()) for task in tasks]
    attempts = [each.attempt for each in go_together(member, batches.claim_together, asked)]
    reports = [
        pb.CompleteTaskParam(attempt=each, models=[messages.new_model(each.compute_task_key)]) for each in attempts
    ]
    go_together(member, batches.complete_together, reports)
    return 2


@pytest.mark.parametrize("lives", [older_together, claimed_together])
def test_lives_together_cost_a_part_of_as_many_alone(alone: Member, lives) -> None:
    tasks = poked(alone)
    lives(alone, tasks[:AT_ONCE])
    place(alone)
    before, made = wal(alone), alone.rows(MULTIXACTS)
    with counting() as statements, committing() as commits:
        calls = sum(lives(alone, tasks[first : first + AT_ONCE]) for first in range(AT_ONCE, LIVES, AT_ONCE))
    place(alone)
    rest = LIVES - AT_ONCE
    assert 1_000 < (wal(alone) - before) / rest < MOST_WAL
    assert len(commits) == calls
    # The beginning of each transaction is one.
    assert len(statements) <= (MOST_STATEMENTS + 2) * calls
    assert alone.rows(MULTIXACTS) == made
    query = "SELECT sum(n_tup_upd), sum(n_tup_hot_upd) FROM pg_stat_user_tables WHERE n_tup_upd >= :lives"
    alone.rows("SELECT pg_stat_force_next_flush()")
    ((all_, hot),) = alone.rows(query, lives=rest)
    assert float(hot) >= LEAST_HOT * float(all_)


@pytest.mark.parametrize("life", [older, claimed])
def test_lives_at_once_make_no_multixact(network: Member, life) -> None:
    tasks = network.register(2 * AT_ONCE)
    child = network.below(*tasks)
    before = network.rows(MULTIXACTS)
    for first in (0, AT_ONCE):
        at_once(*[partial(life, network, task) for task in tasks[first : first + AT_ONCE]])
    assert network.rows(MULTIXACTS) == before
    assert network.word(child) == "To do"


def test_a_transition_writes_no_index(alone: Member) -> None:
    parents = alone.register(LIVES)
    for parent in parents:
        alone.below(parent)
    live(alone, older, parents)
    all_, hot = updates(alone, "task_states")
    assert all_ >= 3 * LIVES
    assert hot >= LEAST_HOT * all_


@pytest.mark.parametrize("life", [older, claimed, older_together, claimed_together])
def test_a_life_reads_no_table_of_tasks_though_another_parent_has_very_many_children(alone: Member, life) -> None:
    """What Postgres expects of a parent is what parents have on an average."""
    parents = [alone.register()[0] for _ in range(60)]
    for parent in parents:
        alone.below(parent)
    alone.register(2_000, [str(*alone.register())])
    with alone.database.begin() as connection:
        connection.execute(text("ANALYZE tasks, task_states, edges"))
    before = read(alone)
    if life in (older, claimed):
        for parent in parents[:8]:
            life(alone, parent)
    else:
        life(alone, parents[:8])
    assert read(alone) == before


def read(member: Member) -> int:
    """Return how many tasks were met by whoever read them all."""
    member.rows("SELECT pg_stat_force_next_flush()")
    query = "SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname IN ('tasks', 'task_states', 'edges')"
    return int(member.rows(query)[0][0])


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
    assert hot >= LEAST_HOT * all_


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
