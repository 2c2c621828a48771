"""A registration in parts: a fault in a late one undoes all, and a parent of an early one may be Done meanwhile."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from orchestrator import protos as pb
from orchestrator.compute import task_registration
from orchestrator.engine.transaction import Database
from orchestrator.trace import places
from tests.integration.counted import Counted
from tests.integration.test_races import outcome
from tests.kit.database import await_blocked, deadlocks
from tests.kit.messages import new_key, new_task, tasks

PART = 10
STORED = """
    SELECT (SELECT count(*) FROM tasks), (SELECT count(*) FROM task_states), (SELECT count(*) FROM edges),
           (SELECT count(*) FROM events), (SELECT count(*) FROM outbox), (SELECT sum(extended) FROM plans)
"""
WRONG = """
    SELECT key FROM task_states WHERE pending_parents <>
        (SELECT count(*) FROM edges JOIN task_states AS parents ON parents.key = parent
         WHERE child = task_states.key AND parents.status <> 4)
    UNION ALL
    SELECT key FROM task_states AS state WHERE status = 2 AND NOT EXISTS
        (SELECT FROM outbox WHERE outbox.key = state.key AND attempt = state.attempts + 1)
"""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_registration, "_SLICE", PART)


def rows(database: Database, query: str, **parameters: Any) -> list[Any]:
    with psycopg.connect(database.url) as connection:
        return connection.execute(query, parameters).fetchall()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"function_key": "missing"}, "OE0002"),
        ({"compute_plan_key": "missing"}, "OE0002"),
        ({"worker": "nobody"}, "OE0002"),
        ({"outputs": {}}, "OE0101"),
        ({"key": "first"}, "OE0006"),
        ({"key": "of another channel"}, "OE0006"),
    ],
)
def test_a_fault_in_the_third_part_keeps_nothing(
    database: Database, org: Counted, plan: pb.ComputePlan, function: pb.Function, change: dict[str, Any], code: str
):
    elsewhere = Counted(database, "elsewhere")
    elsewhere.send(pb.RegisterOrganizationParam())
    theirs = new_task(elsewhere.register_function(), elsewhere.register_plan())
    elsewhere.send(tasks(theirs))
    root = new_task(function, plan)
    org.send(tasks(root))
    new = [new_task(function, plan, [root])]
    while len(new) < 2 * PART + 5:
        new.append(new_task(function, plan, new[-1:]))
    known = {"missing": new_key(), "first": new[0].key, "of another channel": theirs.key}
    ((field, value),) = change.items()
    new[-1] = new_task(function, plan, new[-2:-1], **{field: known.get(value, value) if value else value})
    before, threads = rows(database, STORED), threading.active_count()
    assert outcome(lambda: org.send(tasks(*new))) == code
    assert rows(database, STORED) == before
    assert threading.active_count() == threads


@pytest.mark.parametrize("claimed", [False, True], ids=["without an attempt", "by its attempt"])
@pytest.mark.parametrize("far", [False, True], ids=["same plan", "other plan"])
@pytest.mark.parametrize("kept", [False, True], ids=["refused", "kept"])
def test_a_parent_of_an_early_part_is_done_while_a_late_one_is_written(
    database: Database,
    org: Counted,
    plan: pb.ComputePlan,
    function: pb.Function,
    claimed: bool,
    far: bool,
    kept: bool,
):
    parent = new_task(function, org.register_plan() if far else plan)
    org.send(tasks(parent))
    done = org.run(parent, claimed=claimed)
    early = [new_task(function, plan, [parent]) for _ in range(PART)]
    late = [new_task(function, plan, [parent, early[0]]) for _ in range(5)]
    new = [*early, *(new_task(function, plan) for _ in range(PART)), *late]
    taken = uuid.UUID(late[2].key)
    with (
        psycopg.connect(database.url, autocommit=True) as observer,
        psycopg.connect(database.url) as holder,
        ThreadPoolExecutor() as threads,
    ):
        holder.execute("INSERT INTO task_states VALUES (%s, %s, 4, 0)", [taken, uuid.uuid4()])
        registering = threads.submit(outcome, lambda: org.send(tasks(*new)))
        await_blocked(observer, 1, registering)
        completing = threads.submit(outcome, lambda: org.send(done))
        await_blocked(observer, 2, completing)
        holder.rollback() if kept else holder.commit()
        assert (registering.result(60), completing.result(60)) == ("OK" if kept else "OE0006", "OK")
        observer.execute("DELETE FROM task_states WHERE key = %s AND status = 4", [taken])
    if not kept:
        org.send(tasks(*new))
    assert {org.status(child) for child in early} == {pb.STATUS_WAITING_FOR_EXECUTOR_SLOT}
    assert {org.status(child) for child in late} == {pb.STATUS_WAITING_FOR_PARENT_TASKS}
    assert rows(database, WRONG) == []
    with database.begin() as connection:
        while places.place(connection, PART - 3):
            pass
    created = (
        "SELECT {} FROM events JOIN places ON event = id WHERE asset_key = ANY(%(keys)s) AND kind = 1 ORDER BY position"
    )
    told = rows(database, created.format("sequence, position, id"), keys=[task.key for task in new])
    assert len(told) == len(new)
    assert len({sequence for sequence, _, _ in told}) == 1
    assert [position for _, position, _ in told] == list(range(told[0][1], told[0][1] + len(new)))
    assert sorted(told, key=lambda event: event[2]) == told
    assert deadlocks(database) == 0


@pytest.mark.parametrize("count", [2, 2 * PART + 5], ids=["at once", "in parts"])
def test_a_parent_is_done_while_its_plan_is_waited_for(
    database: Database, org: Counted, plan: pb.ComputePlan, function: pb.Function, count: int
):
    parent = new_task(function, plan)
    org.send(tasks(parent))
    new = [new_task(function, plan, [parent]) for _ in range(count)]
    with (
        psycopg.connect(database.url, autocommit=True) as observer,
        psycopg.connect(database.url) as completing,
        ThreadPoolExecutor() as threads,
    ):
        # As a Done does, which shares the latch.
        completing.execute("SELECT share_latch(%s)", [uuid.UUID(plan.key)])
        completing.execute("UPDATE task_states SET status = 4 WHERE key = %s", [parent.key])
        registering = threads.submit(org.send, tasks(*new))
        await_blocked(observer, 1, registering)
        completing.commit()
        registered = registering.result(60).tasks
    assert [task.key for task in registered] == [task.key for task in new]
    assert {task.status for task in registered} == {pb.STATUS_WAITING_FOR_EXECUTOR_SLOT}
    assert rows(database, WRONG) == []
    told = "SELECT count(*), count(DISTINCT sequence) FROM events WHERE asset_key = ANY(%(keys)s)"
    assert rows(database, told, keys=[task.key for task in new]) == [(count, 1)]
