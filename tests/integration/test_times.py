"""The events of an asset bear times in the order in which they happened, whoever waited for whom."""

import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg

from orchestrator import protos as pb
from orchestrator.engine import plans
from orchestrator.engine.transaction import Database
from tests.integration.counted import Counted
from tests.integration.test_races import act
from tests.integration.test_races import observer as observer
from tests.kit.database import await_blocked, tell
from tests.kit.messages import function_failure, models, new_function, new_model, new_task, tasks

_TOLD = "SELECT asset_key, created_at FROM events ORDER BY sequence, id"
Observer = psycopg.Connection[Any]


def check_order(observer: Observer) -> None:
    """Check that no event of an asset is earlier than one that was written before."""
    last: dict[str, Any] = {}
    for key, moment in observer.execute(_TOLD).fetchall():
        assert last.get(key, moment) <= moment, f"the events of {key} run back in time"
        last[key] = moment


def statuses(org: Counted, task: Any) -> list[int]:
    """What subscribers and `QueryEvents` say a task was, by time."""
    asked = pb.QueryEventsParam(
        filter=pb.EventQueryFilter(asset_key=task.key, asset_kind=pb.ASSET_COMPUTE_TASK), sort=pb.ASCENDING
    )
    return [event.compute_task.status for event in org.send(asked).events]


def held_up(
    database: Database, observer: Observer, table: str, key: str, call: Callable[[], Any], meanwhile: Callable[[], Any]
) -> None:
    """Have a call wait for a row that another holds, do something else meanwhile, and have it go on."""
    with psycopg.connect(database.url) as holder, ThreadPoolExecutor() as threads:
        holder.execute(f"SELECT FROM {table} WHERE key = %s FOR NO KEY UPDATE", [uuid.UUID(key)])
        waiting: Future[Any] = threads.submit(call)
        await_blocked(observer, 1, waiting)
        meanwhile()
        holder.rollback()
        waiting.result(60)


def test_a_task_that_starts_while_its_plan_is_being_cancelled_was_started_before(
    database: Database, observer: Observer, org: Counted, plan: pb.ComputePlan, function: pb.Function
):
    first, second = sorted((new_task(function, plan) for _ in range(2)), key=lambda task: task.key)
    org.send(tasks(first, second))
    org.send(act(first, pb.TASK_ACTION_EXECUTING))

    def run() -> None:
        org.send(act(second, pb.TASK_ACTION_EXECUTING))
        org.send(models(new_model(second)))

    cancel = pb.ApplyPlanActionParam(key=plan.key, action=pb.PLAN_ACTION_CANCELED)
    held_up(database, observer, "task_states", first.key, lambda: org.send(cancel), run)
    assert statuses(org, second) == [
        pb.STATUS_WAITING_FOR_EXECUTOR_SLOT,
        pb.STATUS_EXECUTING,
        pb.STATUS_CANCELED,
    ]
    check_order(observer)
    (told,) = org.send(
        pb.QueryEventsParam(filter=pb.EventQueryFilter(asset_key=plan.key, event_kind=pb.EVENT_ASSET_UPDATED))
    ).events
    assert told.compute_plan.cancelation_date == told.timestamp


def test_a_plan_that_is_renamed_while_a_task_of_it_fails_was_renamed_before(
    database: Database, observer: Observer, org: Counted, plan: pb.ComputePlan, function: pb.Function
):
    task = new_task(function, plan)
    org.send(tasks(task))
    with psycopg.connect(database.url) as holder, ThreadPoolExecutor() as threads:
        holder.execute("SELECT FROM compute_plans WHERE key = %s FOR UPDATE", [uuid.UUID(plan.key)])
        renaming = threads.submit(org.send, pb.UpdateComputePlanParam(key=plan.key, name="renamed"))
        await_blocked(observer, 1, renaming)
        failing = threads.submit(org.send, act(task, pb.TASK_ACTION_FAILED))
        await_blocked(observer, 2, failing)
        holder.rollback()
        renaming.result(60)
        failing.result(60)
    check_order(observer)


def test_a_task_that_becomes_due_while_a_sweep_waits_to_cancel_it_was_due_before(
    database: Database, observer: Observer, org: Counted, plan: pb.ComputePlan, function: pb.Function
):
    unbuilt = org.send(new_function())
    org.send(pb.ApplyFunctionActionParam(function_key=unbuilt.key, action=pb.FUNCTION_ACTION_BUILDING))
    first, late, failed = new_task(function, plan), new_task(unbuilt, plan), new_task(function, plan)
    first, late = sorted((first, late), key=lambda task: task.key)
    first.function_key, late.function_key = function.key, unbuilt.key
    org.send(tasks(first, late, failed))
    org.send(act(failed, pb.TASK_ACTION_FAILED))

    def build() -> None:
        image = pb.UpdateFunctionParam(key=unbuilt.key, name="built")
        image.image.CopyFrom(unbuilt.archive)
        org.send(image)
        org.send(pb.ApplyFunctionActionParam(function_key=unbuilt.key, action=pb.FUNCTION_ACTION_READY))

    def sweep() -> int:
        return database.run("", org.channel, lambda each: plans.cancel_stuck(each, uuid.UUID(plan.key)))

    held_up(database, observer, "task_states", first.key, sweep, build)
    assert statuses(org, late)[-2:] == [pb.STATUS_WAITING_FOR_EXECUTOR_SLOT, pb.STATUS_CANCELED]
    check_order(observer)


def test_what_happens_while_the_failure_of_a_function_waits_for_a_plan_was_before(
    database: Database, observer: Observer, org: Counted, plan: pb.ComputePlan
):
    unbuilt = org.send(new_function())
    org.send(pb.ApplyFunctionActionParam(function_key=unbuilt.key, action=pb.FUNCTION_ACTION_BUILDING))
    task = new_task(unbuilt, plan)
    org.send(tasks(task))
    with psycopg.connect(database.url) as holder, ThreadPoolExecutor() as threads:
        holder.execute("SELECT FROM compute_plans WHERE key = %s FOR UPDATE", [uuid.UUID(plan.key)])
        renaming = threads.submit(org.send, pb.UpdateComputePlanParam(key=plan.key, name="renamed"))
        await_blocked(observer, 1, renaming)
        failing = threads.submit(org.send, function_failure(unbuilt))
        await_blocked(observer, 2, failing)
        holder.rollback()
        renaming.result(60)
        report = failing.result(60)
    check_order(observer)
    told = org.send(pb.QueryEventsParam(filter=pb.EventQueryFilter(asset_kind=pb.ASSET_FAILURE_REPORT))).events
    assert [event.timestamp for event in told] == [report.creation_date]


def test_what_is_told_after_a_late_lock_bears_a_later_time_and_number(
    database: Database, observer: Observer, org: Counted
):
    def late(transaction: Any) -> None:
        tell(transaction, "early")
        transaction.locked()
        tell(transaction, "late")

    database.run("org-1", org.channel, late)
    rows = observer.execute(
        "SELECT asset_key, sequence, created_at FROM events WHERE asset_key IN ('early', 'late') ORDER BY sequence"
    ).fetchall()
    (early, *before), (after, *then) = rows
    assert (early, after) == ("early", "late")
    assert all(one < other for one, other in zip(before, then, strict=True))
