"""Compute plans of 10,000 tasks: how many statements a call takes does not grow with them."""

import tracemalloc
from typing import Any

import pytest
from sqlalchemy import text

from orchestrator import protos as pb
from orchestrator.calls.parts import Cut, Parts
from orchestrator.compute import lookup, task_registration
from orchestrator.engine.transaction import Database, Transaction
from orchestrator.trace import reading
from tests.integration.counted import Counted, counting
from tests.kit.database import tell
from tests.kit.messages import new_key, new_model, new_plan, new_task, tasks

LARGE = 10_000
FEW = 200


def stored(database: Database, plan: pb.ComputePlan) -> int:
    with database.engine.begin() as connection:
        query = text("SELECT count(*) FROM tasks WHERE plan_key = :plan")
        return int(connection.execute(query, {"plan": plan.key}).scalar_one())


def graph(function: pb.Function, plan: Any, size: int, above: list[Any]) -> list[pb.NewComputeTask]:
    """Return tasks of two parents each: one of those above, and the one before."""
    new: list[pb.NewComputeTask] = []
    for index in range(size):
        parents = ([above[index % len(above)]] if above else []) + new[-1:]
        new.append(new_task(function, plan, parents))
    return new


def test_tasks_one_by_one(database: Database, org: Counted, plan: pb.ComputePlan, function: pb.Function):
    root = new_task(function, plan)
    org.send(tasks(root))
    new = graph(function, plan, FEW, [root])
    counts = {org.count(tasks(task)) for task in new}
    # What they refer to, and what they are, with a notification.
    assert counts == {2}
    assert stored(database, plan) == FEW + 1


def test_batches_of_a_thousand(database: Database, org: Counted, plan: pb.ComputePlan, function: pb.Function):
    counts = []
    above: list[Any] = [new_task(function, plan)]
    org.send(tasks(*above))
    for _ in range(LARGE // 1000):
        batch = graph(function, plan, 1000, above)
        counts.append(org.count(tasks(*batch)))
        above = batch
    assert set(counts) == {3}
    assert stored(database, plan) == LARGE + 1
    assert indexes(database, new_keys=1000) == {"tasks_pkey", "task_states_pkey"}


def indexes(database: Database, new_keys: int) -> set[str]:
    """Return by what tasks are looked up whose keys are new: an index that is no key's would be read whole."""
    asked = {"new": [new_key() for _ in range(new_keys)], "parents": [new_key()], "functions": [], "channel": ""}
    with database.engine.begin() as connection:
        connection.execute(text("ANALYZE tasks, task_states"))
        query = text(f"EXPLAIN (FORMAT JSON) {lookup._read(locks=False, given=False)}")
        found = connection.execute(query, asked).scalar_one()[0]["Plan"]
    nodes, names = [found], set[str]()
    for node in nodes:
        nodes += node.get("Plans", ())
        if node.get("Relation Name") in ("tasks", "task_states"):
            names.add(node.get("Index Name", node["Node Type"]))
    return names


_READ = """
    SELECT sum(pg_stat_get_xact_tuples_returned(oid)) FROM pg_class
    WHERE relname LIKE 'events%' AND relkind IN ('r', 'i')
"""


def test_a_page_of_the_events_of_an_asset_reads_little_more_than_it_shows(database: Database):
    for _ in range(2):
        database.run("org-1", "ours", lambda transaction: tell(transaction, *["a", "b"] * 1000))
    with database.begin() as connection:
        connection.execute(text("ANALYZE events"))
    with database.begin() as connection:
        transaction, pages = database.transaction(connection, "org-1", "ours"), [pb.QueryEventsResponse()]
        for _ in range(3):
            asked = pb.QueryEventsParam(
                filter=pb.EventQueryFilter(asset_key="a"), page_size=10, page_token=pages[-1].next_page_token
            )
            pages.append(reading.query(transaction, asked))
        read = connection.execute(text(_READ)).scalar_one()
    shown = [event.id for page in pages for event in page.events]
    assert len({*shown}) == 30
    assert shown == sorted(shown)
    assert 30 <= read < 50


def test_one_call_of_ten_thousand_and_pages_of_five_thousand(
    database: Database, org: Counted, plan: pb.ComputePlan, function: pb.Function
):
    new = graph(function, plan, LARGE, [])
    with counting() as statements:
        registered = org.send(tasks(*reversed(new))).tasks
    # It is written in parts of a statement each, of which the first two are one.
    assert len(statements) <= 2 + LARGE // 1000
    assert [task.key for task in registered] == [task.key for task in new]
    assert [task.rank for task in registered] == list(range(LARGE))
    with database.begin() as connection:
        told = connection.execute(text("SELECT asset_key, sequence FROM events WHERE asset_kind = 6 ORDER BY id")).all()
    assert [event.asset_key for event in told] == [task.key for task in new]
    assert len({event.sequence for event in told}) == 1
    query = pb.QueryTasksParam(page_size=5000, filter=pb.TaskQueryFilter(compute_plan_key=plan.key))
    seen = []
    for last in (False, True):
        with counting() as statements:
            page = org.send(query)
        assert len(statements) == 1
        assert len(page.tasks) == 5000
        assert bool(page.next_page_token) is not last
        seen += [task.key for task in page.tasks]
        query.page_token = page.next_page_token
    assert sorted(seen) == sorted(task.key for task in new)
    told = org.send(pb.QueryEventsParam(page_size=LARGE, filter=pb.EventQueryFilter(asset_kind=pb.ASSET_COMPUTE_TASK)))
    assert [event.asset_key for event in told.events] == [task.key for task in new]


def test_the_memory_of_a_registration_grows_with_each_task_by_little(
    database: Database, org: Counted, plan: pb.ComputePlan, function: pb.Function
):
    """By 960 bytes of Python's: a call is given its tasks in parts, and keeps them packed."""
    peaks = []
    for size in (3000, 9000):
        body = tasks(*graph(function, plan, size, [])).SerializeToString()

        def register(transaction: Transaction, body: bytes = body) -> None:
            parts = Parts(Cut(body, 1), pb.RegisterTasksParam.FromString)
            task_registration.register(transaction, parts).SerializeToString()

        tracemalloc.start()
        try:
            database.run("org-1", org.channel, register)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 6000 < 1200


def test_a_cancelled_plan_takes_as_many_statements_as_an_empty_one(
    org: Counted, plan: pb.ComputePlan, function: pb.Function
):
    cancel = pb.ApplyPlanActionParam(action=pb.PLAN_ACTION_CANCELED)
    empty = org.send(new_plan())
    org.send(tasks(*(new_task(function, plan) for _ in range(3000))))
    counts = set()
    for cancelled in (empty, plan):
        cancel.key = cancelled.key
        counts.add(org.count(cancel))
    assert len(counts) == 1
    page = org.send(pb.QueryTasksParam(page_size=5000, filter=pb.TaskQueryFilter(compute_plan_key=plan.key)))
    assert {task.status for task in page.tasks} == {pb.STATUS_CANCELED}


@pytest.mark.parametrize("children", [0, 1, 3000])
def test_a_start_and_a_done_are_one_statement_and_a_notification_whatever_the_number_of_children(
    org: Counted, plan: pb.ComputePlan, function: pb.Function, children: int
):
    root = new_task(function, plan)
    below = [new_task(function, plan, [root]) for _ in range(children)]
    org.send(tasks(root, *below))
    assert org.start(root) == 2
    assert org.count(pb.ApplyTaskActionParam(compute_task_key=root.key, action=pb.TASK_ACTION_DONE)) == 2
    assert {org.status(task) for task in below[:3]} <= {pb.STATUS_WAITING_FOR_EXECUTOR_SLOT}


@pytest.mark.parametrize("children", [0, 1, 3000])
def test_a_completed_attempt_with_a_model_takes_three_statements_and_a_notification(
    org: Counted, plan: pb.ComputePlan, function: pb.Function, children: int
):
    root = new_task(function, plan)
    below = [new_task(function, plan, [root]) for _ in range(children)]
    org.send(tasks(root, *below))
    claimed = org.send(pb.ClaimTaskParam(compute_task_key=root.key, claim_id="claim"))
    report = pb.CompleteTaskParam(attempt=claimed.attempt, models=[new_model(root)])
    assert org.count(report) == 3
    assert org.status(root) == pb.STATUS_DONE
    assert {org.status(task) for task in below[:3]} <= {pb.STATUS_WAITING_FOR_EXECUTOR_SLOT}


def test_a_child_of_three_thousand_parents(org: Counted, plan: pb.ComputePlan, function: pb.Function):
    parents = [new_task(function, plan) for _ in range(3000)]
    org.send(tasks(*parents))
    child = new_task(function, plan, parents)
    assert org.count(tasks(child)) == 2
    assert org.status(child) == pb.STATUS_WAITING_FOR_PARENT_TASKS
