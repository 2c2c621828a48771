"""Plans: their cancellation, and whether they run."""

from typing import Any

import pytest

from orchestrator import protos as pb
from tests.kit.messages import (
    MODEL,
    SCORE,
    by_parent,
    models,
    new_key,
    new_model,
    new_performance,
    new_plan,
    new_task,
    task_failure,
    tasks,
)
from tests.kit.organization import Organization, task_action

REFUSED = ("OE0109", "OE0110", "OE0104", "OE0003")
"""What a late callback may be told: each is FAILED_PRECONDITION."""


def cancel(plan: Any) -> pb.ApplyPlanActionParam:
    return pb.ApplyPlanActionParam(key=plan.key, action=pb.PLAN_ACTION_CANCELED)


def running(org: Organization, plan: Any) -> bool:
    return org.send(pb.IsPlanRunningParam(key=plan.key)).is_running


def test_a_plan_is_registered(org: Organization):
    new = new_plan(metadata={"k": "v"})
    plan = org.send(new)
    assert plan.key == new.key
    assert plan.name == new.name
    assert plan.tag == new.tag
    assert plan.metadata == {"k": "v"}
    assert plan.owner == "org-1"
    assert plan.creation_date.seconds
    assert not plan.HasField("cancelation_date")
    assert not plan.HasField("failure_date")


def test_the_owner_cancels(org: Organization, other: Organization, plan: pb.ComputePlan):
    other.refused(cancel(plan), "OE0102")
    org.send(cancel(plan))
    canceled = other.plan(plan)
    assert canceled.HasField("cancelation_date")
    (event,) = org.events(asset_key=plan.key, event_kind=pb.EVENT_ASSET_UPDATED)
    assert event.asset_kind == pb.ASSET_COMPUTE_PLAN
    assert event.compute_plan == canceled
    assert event.timestamp == canceled.cancelation_date
    plan.cancelation_date.CopyFrom(canceled.cancelation_date)
    assert canceled == plan


@pytest.mark.parametrize("action", [pb.PLAN_ACTION_UNKNOWN, 99])
def test_an_unknown_action_is_refused(org: Organization, plan: pb.ComputePlan, action: Any):
    org.refused(pb.ApplyPlanActionParam(key=plan.key, action=action), "OE0003", "OE0101")
    org.send(cancel(plan))


def test_a_canceled_plan_is_not_canceled_again(org: Organization, plan: pb.ComputePlan):
    org.send(cancel(plan))
    canceled = org.plan(plan)
    org.refused(cancel(plan), "OE0109")
    assert org.plan(plan) == canceled


def test_a_failed_plan_is_not_canceled(org: Organization, plan: pb.ComputePlan):
    waiting = org.task_in("STATUS_WAITING_FOR_EXECUTOR_SLOT", plan)
    org.act(org.task_in("STATUS_EXECUTING", plan), pb.TASK_ACTION_FAILED)
    org.refused(cancel(plan), "OE0109")
    assert not org.plan(plan).HasField("cancelation_date")
    assert org.status(waiting) == "STATUS_WAITING_FOR_EXECUTOR_SLOT"


@pytest.mark.parametrize(
    "status",
    [
        "STATUS_WAITING_FOR_BUILDER_SLOT",
        "STATUS_WAITING_FOR_PARENT_TASKS",
        "STATUS_WAITING_FOR_EXECUTOR_SLOT",
    ],
)
def test_waiting_and_to_do_tasks_are_canceled_in_the_same_transaction(
    org: Organization, plan: pb.ComputePlan, status: str
):
    task = org.task_in(status, plan, worker="org-2")
    unrelated = org.task_in(status)
    org.send(cancel(plan))
    assert org.status(task) == "STATUS_CANCELED"
    assert org.status(unrelated) == status
    (event,) = org.events(asset_key=task.key, event_kind=pb.EVENT_ASSET_UPDATED)
    assert event.compute_task == org.task(task)
    assert event.timestamp == org.plan(plan).cancelation_date
    assert "reason" in event.metadata


@pytest.mark.parametrize("status", ["STATUS_DONE", "STATUS_CANCELED"])
def test_tasks_that_have_ended_stay_as_they_are(org: Organization, plan: pb.ComputePlan, status: str):
    task = org.task_in(status, plan)
    org.send(cancel(plan))
    assert org.task(task) == task


def test_a_late_callback_is_refused(org: Organization, plan: pb.ComputePlan):
    function = org.register_function(outputs={"model": MODEL, "score": SCORE})
    task = org.register_task(function, plan)
    child = org.register_task(org.register_function(), plan, inputs=[by_parent("models", task)])
    org.start(task)
    org.send(cancel(plan))
    for late in (
        task_action(task, pb.TASK_ACTION_DONE),
        task_action(task, pb.TASK_ACTION_FAILED),
        task_action(task, pb.TASK_ACTION_EXECUTING),
        task_failure(task),
        models(new_model(task)),
        new_model(task),
        new_performance(task),
    ):
        org.refused(late, *REFUSED)
    assert org.status(task) in ("STATUS_EXECUTING", "STATUS_CANCELED")
    assert org.status(child) == "STATUS_CANCELED"
    assert not org.plan(plan).HasField("failure_date")


def test_a_task_of_a_canceled_plan_does_not_start(org: Organization, plan: pb.ComputePlan):
    task = org.task_in("STATUS_WAITING_FOR_EXECUTOR_SLOT", plan)
    org.send(cancel(plan))
    org.refused(task_action(task, pb.TASK_ACTION_EXECUTING), *REFUSED)


def test_a_build_starts_no_task_of_a_canceled_plan(org: Organization, plan: pb.ComputePlan):
    function = org.register_function(pb.FUNCTION_STATUS_WAITING)
    task = org.register_task(function, plan)
    org.send(cancel(plan))
    org.act_on_function(function, pb.FUNCTION_ACTION_BUILDING)
    org.act_on_function(function, pb.FUNCTION_ACTION_READY)
    assert org.status(task) == "STATUS_CANCELED"


def test_a_canceled_plan_takes_no_more_tasks(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    org.send(tasks(new_task(function, plan)))
    org.send(cancel(plan))
    org.refused(tasks(new_task(function, plan)), "OE0109")


def test_cancellation_of_a_large_plan(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    first = new_task(function, plan)
    rest = [new_task(function, plan, [first]) for _ in range(500)]
    org.send(tasks(first, *rest))
    org.send(cancel(plan))
    statuses = {task.status for task in org.all(pb.QueryTasksParam(page_size=1000))}
    assert statuses == {pb.STATUS_CANCELED}
    events = org.events(start=org.plan(plan).cancelation_date)
    assert len(events) == len({event.asset_key for event in events}) == 502


def test_a_plan_without_tasks_does_not_run(org: Organization, plan: pb.ComputePlan):
    assert not running(org, plan)


@pytest.mark.parametrize(
    "status",
    [
        "STATUS_WAITING_FOR_BUILDER_SLOT",
        "STATUS_BUILDING",
        "STATUS_WAITING_FOR_PARENT_TASKS",
        "STATUS_WAITING_FOR_EXECUTOR_SLOT",
        "STATUS_EXECUTING",
    ],
)
def test_a_plan_with_a_task_that_has_not_ended_runs(
    org: Organization, other: Organization, plan: pb.ComputePlan, status: str
):
    org.task_in("STATUS_DONE", plan)
    org.task_in(status, plan)
    assert running(org, plan)
    assert running(other, plan)


def test_a_plan_whose_tasks_are_all_done_does_not_run(org: Organization, plan: pb.ComputePlan):
    for _ in range(2):
        org.task_in("STATUS_DONE", plan)
    assert not running(org, plan)


@pytest.mark.parametrize("status", ["STATUS_CANCELED", "STATUS_FAILED"])
def test_a_plan_with_a_canceled_or_failed_task_does_not_run(org: Organization, plan: pb.ComputePlan, status: str):
    org.task_in("STATUS_EXECUTING", plan)
    assert running(org, plan)
    org.task_in(status, plan)
    assert not running(org, plan)


def test_a_canceled_plan_does_not_run(org: Organization, plan: pb.ComputePlan):
    org.task_in("STATUS_EXECUTING", plan)
    assert running(org, plan)
    org.send(cancel(plan))
    assert not running(org, plan)


def test_a_plan_with_a_failed_build_does_not_run(org: Organization, plan: pb.ComputePlan):
    function = org.register_function(pb.FUNCTION_STATUS_BUILDING)
    org.register_task(function, plan)
    org.task_in("STATUS_WAITING_FOR_EXECUTOR_SLOT", plan)
    assert running(org, plan)
    org.act_on_function(function, pb.FUNCTION_ACTION_FAILED)
    assert not running(org, plan)


def test_an_unknown_plan_neither_runs_nor_ends(org: Organization):
    org.refused(pb.IsPlanRunningParam(key=new_key()), "OE0002")
