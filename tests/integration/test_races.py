"""Two calls that meet at one point, held there: the outcome is that of one after the other."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from orchestrator import protos as pb
from orchestrator.core.errors import OrchestratorError
from orchestrator.engine.transaction import Database
from tests.integration.counted import Counted
from tests.kit.database import await_blocked, deadlocks
from tests.kit.messages import PUBLIC, models, new_model, new_task, output, tasks
from tests.kit.stalling import stalled


@pytest.fixture
def observer(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database.url, autocommit=True) as connection:
        yield connection


def outcome(call: Callable[[], Any]) -> str:
    try:
        call()
    except OrchestratorError as error:
        return error.code
    return "OK"


def act(task: Any, action: "pb.ComputeTaskAction.ValueType") -> pb.ApplyTaskActionParam:
    return pb.ApplyTaskActionParam(compute_task_key=task.key, action=action)


def run(org: Counted, task: Any) -> pb.Model:
    org.send(act(task, pb.TASK_ACTION_EXECUTING))
    model = org.send(models(new_model(task))).models[0]
    org.send(act(task, pb.TASK_ACTION_DONE))
    return model


def test_a_model_is_not_disabled_under_a_child_that_comes_just_now(
    database: Database, observer: psycopg.Connection[Any], org: Counted, plan: pb.ComputePlan, function: pb.Function
):
    parent = new_task(function, plan, outputs={"model": output(PUBLIC, transient=True)})
    ended = new_task(function, plan, [parent])
    org.send(tasks(parent, ended))
    model = run(org, parent)
    run(org, ended)
    late = new_task(function, plan, [parent])
    with psycopg.connect(database.url) as holder, ThreadPoolExecutor() as threads:
        holder.execute("SELECT FROM models WHERE key = %s FOR UPDATE", [uuid.UUID(model.key)])
        request = pb.DisableOutputParam(compute_task_key=parent.key, identifier="model")
        disabling = threads.submit(outcome, lambda: org.send(request))
        await_blocked(observer, 1, disabling)
        registering = threads.submit(outcome, lambda: org.send(tasks(late)))
        await_blocked(observer, 2, registering)
        holder.rollback()
        assert (disabling.result(60), registering.result(60)) in (("OK", "OE0101"), ("OE0108", "OK"))


@pytest.mark.parametrize("backwards", [False, True])
def test_a_heartbeat_and_a_cancelled_plan_do_not_wait_for_each_other(
    database: Database,
    observer: psycopg.Connection[Any],
    org: Counted,
    plan: pb.ComputePlan,
    function: pb.Function,
    backwards: bool,
):
    new = [new_task(function, plan) for _ in range(20)]
    org.send(tasks(*new))
    held = [
        org.send(pb.ClaimTaskParam(compute_task_key=task.key, claim_id="claim")).attempt
        for task in sorted(new, key=lambda task: task.key, reverse=backwards)
    ]
    # At the first attempt whose lease it renews.
    renewing = stalled(database.url, "UPDATE ON attempts", "NEW.lease_until <> OLD.lease_until")
    with renewing as release, ThreadPoolExecutor() as threads:
        beating = threads.submit(org.send, pb.HeartbeatParam(attempts=held))
        await_blocked(observer, 1, beating)
        cancel = pb.ApplyPlanActionParam(key=plan.key, action=pb.PLAN_ACTION_CANCELED)
        cancelling = threads.submit(org.send, cancel)
        await_blocked(observer, 2, cancelling)
        release()
        assert not beating.result(60).stops
        cancelling.result(60)
    stops = org.send(pb.HeartbeatParam(attempts=held)).stops
    assert [stop.reason for stop in stops] == ["the task is Cancelled"] * 20
    observer.close()
    assert deadlocks(database) == 0


def test_a_rename_and_a_failure_of_a_compute_plan_keep_both(
    database: Database, observer: psycopg.Connection[Any], org: Counted, plan: pb.ComputePlan, function: pb.Function
):
    task = new_task(function, plan)
    org.send(tasks(task))
    with psycopg.connect(database.url) as holder, ThreadPoolExecutor() as threads:
        holder.execute("SELECT FROM compute_plans WHERE key = %s FOR UPDATE", [uuid.UUID(plan.key)])
        failing = threads.submit(outcome, lambda: org.send(act(task, pb.TASK_ACTION_FAILED)))
        await_blocked(observer, 1, failing)
        rename = pb.UpdateComputePlanParam(key=plan.key, name="renamed")
        renaming = threads.submit(outcome, lambda: org.send(rename))
        await_blocked(observer, 2, renaming)
        holder.rollback()
        assert (failing.result(60), renaming.result(60)) == ("OK", "OK")
    kept = org.send(pb.GetComputePlanParam(key=plan.key))
    assert kept.name == "renamed"
    assert kept.HasField("failure_date")
    observer.close()
    assert deadlocks(database) == 0


def test_a_parent_s_completion_and_a_child_in_another_plan_see_each_other(
    database: Database, observer: psycopg.Connection[Any], org: Counted, plan: pb.ComputePlan, function: pb.Function
):
    other = org.register_plan()
    parent = new_task(function, plan)
    org.send(tasks(parent))
    org.send(act(parent, pb.TASK_ACTION_EXECUTING))
    org.send(models(new_model(parent)))
    early, late = (new_task(function, other, [parent]) for _ in range(2))
    for child in (early, late):
        with psycopg.connect(database.url) as holder, ThreadPoolExecutor() as threads:
            holder.execute("SELECT FROM plans WHERE key = %s FOR UPDATE", [uuid.UUID(plan.key)])
            registering = threads.submit(outcome, lambda child=child: org.send(tasks(child)))
            await_blocked(observer, 1, registering)
            if child is early:
                completing = threads.submit(outcome, lambda: org.send(act(parent, pb.TASK_ACTION_DONE)))
                await_blocked(observer, 2, completing)
            holder.rollback()
            assert registering.result(60) == "OK"
            assert completing.result(60) == "OK"
    assert [org.status(child) for child in (early, late)] == [pb.STATUS_WAITING_FOR_EXECUTOR_SLOT] * 2
    observer.close()
    assert deadlocks(database) == 0


@pytest.mark.parametrize("claimed", [False, True], ids=["without an attempt", "by its attempt"])
def test_a_completion_waits_for_a_child_that_has_seen_its_parent_run(
    database: Database,
    observer: psycopg.Connection[Any],
    org: Counted,
    plan: pb.ComputePlan,
    function: pb.Function,
    claimed: bool,
):
    parent = new_task(function, plan)
    child = new_task(function, plan, [parent])
    org.send(tasks(parent))
    done = org.run(parent, claimed=claimed)
    with psycopg.connect(database.url) as holder, ThreadPoolExecutor() as threads:
        # It has its latch and has read its parent by then, and nobody sees its edge yet.
        holder.execute("LOCK TABLE edges IN SHARE MODE")
        registering = threads.submit(outcome, lambda: org.send(tasks(child)))
        await_blocked(observer, 1, registering)
        completing = threads.submit(outcome, lambda: org.send(done))
        await_blocked(observer, 2, completing)
        holder.rollback()
        assert (registering.result(60), completing.result(60)) == ("OK", "OK")
    assert org.status(child) == pb.STATUS_WAITING_FOR_EXECUTOR_SLOT


def test_a_child_that_waits_for_its_parent_s_completion_waits_for_its_parent_no_more(
    database: Database, observer: psycopg.Connection[Any], org: Counted, plan: pb.ComputePlan, function: pb.Function
):
    parent = new_task(function, plan)
    child, other = new_task(function, plan, [parent]), new_task(function, plan)
    org.send(tasks(parent))
    done = org.run(parent, claimed=False)
    with (
        stalled(database.url, "UPDATE ON task_states", f"NEW.status = {pb.STATUS_DONE}") as release,
        ThreadPoolExecutor() as threads,
    ):
        completing = threads.submit(outcome, lambda: org.send(done))
        await_blocked(observer, 1, completing)
        # It has seen its parent run, and waits for the latch.
        registering = threads.submit(outcome, lambda: org.send(tasks(child, other)))
        await_blocked(observer, 2, registering)
        release()
        assert (completing.result(60), registering.result(60)) == ("OK", "OK")
    assert [org.status(task) for task in (child, other)] == [pb.STATUS_WAITING_FOR_EXECUTOR_SLOT] * 2
    told = org.send(pb.QueryEventsParam(filter=pb.EventQueryFilter(asset_key=child.key))).events
    assert [event.compute_task.status for event in told] == [pb.STATUS_WAITING_FOR_EXECUTOR_SLOT]


def test_a_child_that_waits_for_the_registration_of_its_parent_finds_it(
    database: Database, observer: psycopg.Connection[Any], org: Counted, plan: pb.ComputePlan, function: pb.Function
):
    parent = new_task(function, plan)
    child = new_task(function, plan, [parent])
    with stalled(database.url, "INSERT ON tasks", "true") as release, ThreadPoolExecutor() as threads:
        first = threads.submit(outcome, lambda: org.send(tasks(parent)))
        await_blocked(observer, 1, first)
        second = threads.submit(outcome, lambda: org.send(tasks(child)))
        await_blocked(observer, 2, second)
        release()
        assert (first.result(60), second.result(60)) == ("OK", "OK")
    assert org.status(child) == pb.STATUS_WAITING_FOR_PARENT_TASKS
