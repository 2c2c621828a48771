"""The sweep of lost pokes, with a clock of its own."""

from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from orchestrator import protos as pb
from orchestrator.compute import builds as delayed
from orchestrator.compute import functions
from orchestrator.compute.sweeps import lost_builds
from orchestrator.core.pokes import BUILD_FUNCTION, RUN_TASK
from orchestrator.engine import claims, outbox
from orchestrator.engine.sweeps import lost_pokes
from orchestrator.engine.transaction import Database
from orchestrator.store.sweep import Sweep
from tests.kit import messages
from tests.kit.member import Member, after, at_once, made

AGE = 30.0


@pytest.fixture
def sweep(database) -> Sweep:
    return made(lost_pokes, database, lost_poke_age=AGE)


def test_a_task_that_stays_to_do_is_poked_again(database, network, sweep):
    (task,) = network.register(1)
    assert [poke.key for poke in network.send()] == [task]
    assert sweep.sweep(database, after(AGE + 1)) == 1
    assert network.send() == [outbox.Poke(RUN_TASK, "org.org-1", task, 1)]


def test_a_fresh_poke_is_left_alone(database, network, sweep):
    network.register(1)
    network.send()
    assert sweep.sweep(database, after(AGE - 5)) == 0


def test_the_pause_doubles_with_each_poke_up_to_an_hour(database, network, sweep):
    network.register(1)
    network.send()
    now = after(0)
    pauses = []
    for _ in range(10):
        started, now = now, now + timedelta(seconds=1)
        while not sweep.sweep(database, now):
            now += timedelta(seconds=10)
        network.send()
        pauses.append((now - started).total_seconds())
    assert all(later >= earlier for earlier, later in pairwise(pauses))
    assert pauses[1] == pytest.approx(2 * AGE, abs=15)
    assert max(pauses) == pytest.approx(3600, abs=15)


def test_a_task_that_was_claimed_is_not_poked(database, network, sweep):
    (task,) = network.register(1)
    network.call(claims.claim, pb.ClaimTaskParam(compute_task_key=str(task), claim_id="claim"))
    assert sweep.sweep(database, after(3600 * 24)) == 0


def test_more_than_a_batch_is_swept_at_once(database, network, sweep):
    tasks = network.register(5)
    network.send()
    assert sweep.sweep(database, after(AGE + 1)) == 5
    assert sorted(poke.key for poke in network.send()) == sorted(tasks)


def test_two_sweeps_at_once_poke_each_task_once(database, network, sweep):
    tasks = network.register(20)
    network.send()
    now = after(AGE + 1)
    counts = at_once(*[lambda: sweep.sweep(database, now)] * 2)
    assert sum(counts) == 20
    assert sorted(poke.key for poke in network.send()) == sorted(tasks)


def test_a_locked_task_is_passed_over(database, network, sweep):
    held, free = network.register(2)
    network.send()
    with network.locked("task_states", "key = :key", key=held):
        assert sweep.sweep(database, after(AGE + 1)) == 1
    assert [poke.key for poke in network.send()] == [free]


def test_a_task_that_waits_for_its_pause_is_not_poked(database, network, sweep):
    (task,) = network.register(1)
    network.fail(network.claim(task).attempt)
    network.send()
    assert sweep.sweep(database, after(3600 * 24)) == 0


def test_the_next_attempt_is_announced(database, network, sweep):
    (task,) = network.register(1)
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE task_states SET attempts = 2 WHERE key = :key"), {"key": task})
    network.send()
    sweep.sweep(database, after(AGE + 1))
    assert [poke.attempt for poke in network.send()] == [3]


def test_a_poke_that_waits_for_the_broker_is_not_lost(database, network, sweep):
    network.register(1)
    assert sweep.sweep(database, after(AGE + 1)) == 0
    assert len(network.send()) == 1


def test_a_build_that_is_delayed_is_poked_for_after_pauses_that_double(database, network):
    function = network.call(functions.register, messages.new_function())
    network.send()
    sweep = made(lost_builds, database, lost_poke_age=AGE)
    for pause in (AGE, 2 * AGE, 4 * AGE):
        # It took as long as the pause before its worker gave up: that does not count.
        network.execute("UPDATE functions SET poked_at = poked_at - interval '1 day'")
        network.execute("UPDATE outbox SET sent_at = sent_at - interval '1 day'")
        network.call(delayed.delay, pb.DelayBuildParam(function_key=function.key, reason="the index is away"))
        assert sweep.sweep(database, after(pause - 1)) == 0
        assert sweep.sweep(database, after(pause + 1)) == 1
        network.send()


def test_a_function_that_nobody_builds_is_poked_again_until_it_is_ready(database, network, sweep):
    function = network.call(functions.register, messages.new_function())
    built = outbox.Poke(BUILD_FUNCTION, "org.org-1", UUID(function.key), 1)
    builds = made(lost_builds, database, lost_poke_age=AGE)
    assert network.send() == [built]
    assert sweep.sweep(database, after(AGE + 1)) == 0
    assert builds.sweep(database, after(AGE + 1)) == 1
    assert network.send() == [built]
    network.act(function, pb.FUNCTION_ACTION_BUILDING)
    assert builds.sweep(database, after(4 * AGE)) == 1
    network.act(function, pb.FUNCTION_ACTION_READY)
    network.send()
    assert builds.sweep(database, after(3600 * 24)) == 0


def test_nobody_is_poked_again_who_is_not_there(database, network, sweep):
    network.heartbeat()
    network.register(3)
    network.call(functions.register, messages.new_function())
    network.send()
    builds = made(lost_builds, database, lost_poke_age=AGE)
    assert (sweep.sweep(database, after(AGE + 1)), builds.sweep(database, after(AGE + 1))) == (3, 1)
    network.send()
    for hours in (1, 24, 24 * 7):
        assert (sweep.sweep(database, after(3600 * hours)), builds.sweep(database, after(3600 * hours))) == (0, 0)


def test_who_comes_back_is_poked_at_once_for_all_that_is_due(database, network, sweep):
    network.heartbeat()
    tasks = network.register(5)
    function = network.call(functions.register, messages.new_function())
    network.send()
    away(network)
    builds = made(lost_builds, database, lost_poke_age=AGE)
    assert (sweep.sweep(database, after(0)), builds.sweep(database, after(0))) == (0, 0)
    network.heartbeat(node="another")
    assert (sweep.sweep(database, after(1)), builds.sweep(database, after(1))) == (5, 1)
    assert sorted(poke.key for poke in network.send()) == sorted([*tasks, UUID(function.key)])
    assert sweep.sweep(database, after(1)) == 0


def test_the_pause_begins_anew_for_who_comes_back(database, network, sweep):
    network.heartbeat()
    (task,) = network.register(1)
    network.execute("UPDATE task_states SET pokes = 20 WHERE key = :key", key=task)
    network.send()
    away(network)
    network.heartbeat()
    assert sweep.sweep(database, after(1)) == 1
    network.send()
    assert sweep.sweep(database, after(AGE + 5)) == 1


def test_who_comes_for_the_first_time_is_poked_at_once(database, network, sweep):
    network.register(1)
    network.send()
    assert sweep.sweep(database, after(1)) == 0
    network.heartbeat()
    assert sweep.sweep(database, after(1)) == 1


def test_a_node_that_restarts_and_one_that_joins_are_not_poked_again(database, network, sweep):
    network.heartbeat()
    network.register(1)
    network.send()
    network.execute("UPDATE queues SET heard_at = heard_at - interval '30 seconds'")
    network.heartbeat(node="node-1")
    network.heartbeat(node="node-2")
    assert sweep.sweep(database, after(1)) == 0


def test_a_node_in_any_channel_reads_the_queue(database, network, sweep):
    network.heartbeat()
    network.register(1)
    network.send()
    away(network)
    Member(database, channel="other").heartbeat()
    assert sweep.sweep(database, after(1)) == 1


def test_many_tasks_of_an_organization_that_is_away_cost_little(database, network, sweep):
    """One pass over what is To do, however many of it nobody is poked for."""
    network.heartbeat()
    network.register(1)
    network.send()
    away(network)
    many(network)
    # Those that are looked at, and the same number again in each step of their one pass.
    assert sum(rows_of(explained(database))) < 10 * 10_001
    assert sweep.sweep(database, after(3600)) == 0
    network.heartbeat()
    assert made(lost_pokes, database, sweep_batch=500).sweep(database, after(1)) == 10_001


def test_a_batch_reads_little_more_than_it_pokes_for_however_many_are_lost(database, network):
    network.register(1)
    network.send()
    many(network)
    parts = explained(database)["Plans"]
    (lost,) = (part for part in parts if part.get("Subplan Name") == "CTE lost")
    assert 100 <= max(rows_of(lost)) < 1000


def explained(database: Database) -> dict[str, Any]:
    """Look for a hundred lost pokes, an hour from now; return the plan of the statement, which changes nothing."""
    given = {"now": after(3600), "age": timedelta(seconds=AGE), "limit": 100, "silence": timedelta(seconds=AGE)}
    with database.engine.connect() as connection, connection.begin() as begun:
        asked = connection.execute(text(f"EXPLAIN (ANALYZE, FORMAT JSON) {lost_pokes._TASKS}"), given)
        plan: dict[str, Any] = asked.scalar_one()[0]["Plan"]
        begun.rollback()
    return plan


def rows_of(node: dict[str, Any]) -> list[float]:
    """How many rows each node of a plan has given, or looked at in vain."""
    below = [count for each in node.get("Plans", ()) for count in rows_of(each)]
    looked_at = node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Join Filter", 0)
    return [looked_at * node["Actual Loops"], *below]


def many(network: Member) -> None:
    """Keep 10,000 tasks more that are as the only one."""
    network.execute("""
        WITH new AS MATERIALIZED (
                 SELECT gen_random_uuid() AS new_key, tasks.*, status, pending_parents, poked_at
                 FROM tasks JOIN task_states USING (key) CROSS JOIN generate_series(1, 10000)
             ),
             definition AS (
                 INSERT INTO tasks (key, channel, owner, created_at, message, kind, plan_key, requires, worker, queue,
                                    rank)
                 SELECT new_key, channel, owner, created_at, message, kind, plan_key, requires, worker, queue, rank
                 FROM new
             ),
             state AS (
                 INSERT INTO task_states (key, plan_key, status, pending_parents, poked_at)
                 SELECT new_key, plan_key, status, pending_parents, poked_at FROM new
             ),
             poke AS (
                 INSERT INTO outbox (message, queue, key, attempt, created_at, sent_at)
                 SELECT 'task.run', queue, new_key, 1, created_at, poked_at FROM new
                 RETURNING id, queue, priority, key, attempt, sent_at
             )
        INSERT INTO sent_pokes (id, queue, priority, key, attempt, sent_at)
        SELECT id, queue, priority, key, attempt, sent_at FROM poke
    """)
    network.execute("ANALYZE")


def away(network: Member) -> None:
    """Let an hour pass since all nodes were heard, and since all was poked."""
    for table, column in (("queues", "heard_at"), ("task_states", "poked_at"), ("functions", "poked_at")):
        network.execute(f"UPDATE {table} SET {column} = {column} - interval '1 hour'")
    network.execute("UPDATE queues SET since = since - interval '2 hours'")
