"""Tasks: `ApplyTaskAction`, who may do what, and what follows."""

from typing import Any

import pytest

from orchestrator import protos as pb
from tests.kit.messages import new_key, new_task, task_failure, tasks
from tests.kit.organization import Organization, task_action

OPEN = [
    "STATUS_WAITING_FOR_BUILDER_SLOT",
    "STATUS_BUILDING",
    "STATUS_WAITING_FOR_PARENT_TASKS",
    "STATUS_WAITING_FOR_EXECUTOR_SLOT",
    "STATUS_EXECUTING",
]
TERMINAL = ["STATUS_DONE", "STATUS_CANCELED", "STATUS_FAILED"]
RESULTS = {
    pb.TASK_ACTION_EXECUTING: "STATUS_EXECUTING",
    pb.TASK_ACTION_DONE: "STATUS_DONE",
    pb.TASK_ACTION_CANCELED: "STATUS_CANCELED",
    pb.TASK_ACTION_FAILED: "STATUS_FAILED",
}
ALLOWED = {
    ("STATUS_WAITING_FOR_EXECUTOR_SLOT", pb.TASK_ACTION_EXECUTING),
    ("STATUS_EXECUTING", pb.TASK_ACTION_DONE),
    *((status, pb.TASK_ACTION_CANCELED) for status in OPEN),
    *((status, pb.TASK_ACTION_FAILED) for status in OPEN),
}
every_action = pytest.mark.parametrize("action", RESULTS, ids=[pb.ComputeTaskAction.Name(action) for action in RESULTS])


def updates_of(org: Organization, asset: Any) -> list[pb.Event]:
    return org.events(asset_key=asset.key, event_kind=pb.EVENT_ASSET_UPDATED)


@every_action
@pytest.mark.parametrize("status", [*OPEN, *TERMINAL])
def test_status_changes_as_the_table_says(org: Organization, status: str, action: Any):
    task = org.task_in(status)
    if (status, action) in ALLOWED:
        if action == pb.TASK_ACTION_DONE:
            org.register_model(task)
        org.act(task, action)
        assert org.status(task) == RESULTS[action]
        event = updates_of(org, task)[-1]
        assert event.compute_task == org.task(task)
        assert "reason" in event.metadata
    else:
        org.refused(task_action(task, action), "OE0104")
        assert org.task(task) == task


@pytest.mark.parametrize("status", [*OPEN, *TERMINAL])
@pytest.mark.parametrize(
    "action", [pb.TASK_ACTION_BUILD_STARTED, pb.TASK_ACTION_BUILD_FINISHED, pb.TASK_ACTION_UNKNOWN, 99]
)
def test_build_actions_and_unknown_ones_are_refused(org: Organization, status: str, action: Any):
    task = org.task_in(status)
    org.refused(task_action(task, action), "OE0003", "OE0101", "OE0102", "OE0104")
    assert org.task(task) == task


@pytest.mark.parametrize("status", OPEN)
def test_canceled_and_failed_are_for_owner_or_worker(
    org: Organization, other: Organization, third: Organization, status: str
):
    for action in (pb.TASK_ACTION_CANCELED, pb.TASK_ACTION_FAILED):
        for caller in (org, other):
            plan = org.register_plan()
            if status == "STATUS_EXECUTING":
                task = org.task_in("STATUS_WAITING_FOR_EXECUTOR_SLOT", plan, worker="org-2")
                other.start(task)
            else:
                task = org.task_in(status, plan, worker="org-2")
            third.refused(task_action(task, action), "OE0102")
            caller.act(task, action)
            assert org.status(task) == RESULTS[action]


def test_executing_and_done_are_for_the_worker(org: Organization, other: Organization, third: Organization):
    task = org.task_in("STATUS_WAITING_FOR_EXECUTOR_SLOT", worker="org-2")
    for stranger in (org, third):
        stranger.refused(task_action(task, pb.TASK_ACTION_EXECUTING), "OE0102")
    other.start(task)
    other.register_model(task)
    for stranger in (org, third):
        stranger.refused(task_action(task, pb.TASK_ACTION_DONE), "OE0102")
    other.act(task, pb.TASK_ACTION_DONE)
    assert org.status(task) == "STATUS_DONE"


@every_action
def test_a_task_that_does_not_exist(org: Organization, action: Any):
    org.refused(task_action(new_key(), action), "OE0002")
    org.refused(task_action("no key", action), "OE0002", "OE0003", "OE0101")


def test_done_moves_each_child_whose_parents_are_all_done(
    org: Organization, plan: pb.ComputePlan, function: pb.Function
):
    first, second = org.register_task(function, plan), org.register_task(function, plan)
    only_first = org.register_task(function, plan, [first])
    both = org.register_task(function, plan, [first, second])
    grandchild = org.register_task(function, plan, [first, only_first])
    org.complete(first)
    assert org.status(only_first) == "STATUS_WAITING_FOR_EXECUTOR_SLOT"
    assert org.status(both) == "STATUS_WAITING_FOR_PARENT_TASKS"
    assert org.status(grandchild) == "STATUS_WAITING_FOR_PARENT_TASKS"
    org.complete(second)
    assert org.status(both) == "STATUS_WAITING_FOR_EXECUTOR_SLOT"
    org.complete(only_first)
    assert org.status(grandchild) == "STATUS_WAITING_FOR_EXECUTOR_SLOT"


def test_children_in_other_states_stay_there(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    parent = org.register_task(function, plan)
    canceled = org.register_task(function, plan, [parent])
    org.act(canceled, pb.TASK_ACTION_CANCELED)
    unbuilt = org.register_task(org.register_function(pb.FUNCTION_STATUS_WAITING), plan, [parent])
    building = org.register_task(org.register_function(pb.FUNCTION_STATUS_BUILDING), plan, [parent])
    org.complete(parent)
    assert org.status(canceled) == "STATUS_CANCELED"
    assert org.status(unbuilt) == "STATUS_WAITING_FOR_BUILDER_SLOT"
    assert org.status(building) == "STATUS_BUILDING"


def test_a_child_in_another_plan_moves_too(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    parent = org.register_task(function, plan)
    child = org.register_task(function, org.register_plan(), [parent])
    org.complete(parent)
    assert org.status(child) == "STATUS_WAITING_FOR_EXECUTOR_SLOT"


def test_done_and_its_children_are_one_transaction(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    parent = org.register_task(function, plan)
    children = [org.register_task(function, plan, [parent]) for _ in range(5)]
    org.complete(parent)
    done = updates_of(org, parent)[-1]
    assert done.compute_task.status == pb.STATUS_DONE
    for child in children:
        (update,) = updates_of(org, child)
        assert update.timestamp == done.timestamp
        assert update.compute_task == org.task(child)
        assert "reason" in update.metadata
    order = [event.asset_key for event in org.events(start=done.timestamp)]
    assert order[0] == parent.key
    assert sorted(order[1:]) == sorted(child.key for child in children)


def test_the_wide_child_of_many_parents(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    parents = [new_task(function, plan) for _ in range(20)]
    org.send(tasks(*parents))
    child = org.register_task(function, plan, parents)
    for parent in parents:
        assert org.status(child) == "STATUS_WAITING_FOR_PARENT_TASKS"
        org.complete(parent)
    assert org.status(child) == "STATUS_WAITING_FOR_EXECUTOR_SLOT"


def test_failed_sets_the_failure_date_of_the_plan(org: Organization, plan: pb.ComputePlan):
    task = org.task_in("STATUS_EXECUTING", plan)
    assert not org.plan(plan).HasField("failure_date")
    org.act(task, pb.TASK_ACTION_FAILED, "it broke")
    (update,) = updates_of(org, plan)
    assert update.asset_kind == pb.ASSET_COMPUTE_PLAN
    assert update.compute_plan == org.plan(plan)
    assert update.compute_plan.failure_date == update.timestamp
    assert updates_of(org, task)[-1].timestamp == update.timestamp


def test_a_second_failure_leaves_the_failure_date(org: Organization, plan: pb.ComputePlan):
    first, second = org.task_in("STATUS_EXECUTING", plan), org.task_in("STATUS_EXECUTING", plan)
    org.act(first, pb.TASK_ACTION_FAILED)
    before = org.plan(plan)
    org.act(second, pb.TASK_ACTION_FAILED)
    assert org.status(second) == "STATUS_FAILED"
    assert org.plan(plan) == before
    assert len(updates_of(org, plan)) == 1


def test_canceled_leaves_the_plan_alone(org: Organization, plan: pb.ComputePlan):
    org.act(org.task_in("STATUS_EXECUTING", plan), pb.TASK_ACTION_CANCELED)
    assert org.plan(plan) == plan
    assert updates_of(org, plan) == []


@pytest.mark.parametrize("action", [pb.TASK_ACTION_FAILED, pb.TASK_ACTION_CANCELED])
def test_failed_and_canceled_leave_the_children_waiting(
    org: Organization, plan: pb.ComputePlan, function: pb.Function, action: Any
):
    parent = org.register_task(function, plan)
    child = org.register_task(function, plan, [parent])
    unbuilt = org.register_task(org.register_function(pb.FUNCTION_STATUS_WAITING), plan, [parent])
    moment_before = org.events()[-1].timestamp
    org.act(parent, action)
    told = {event.asset_key for event in org.events(start=moment_before)[1:]}
    assert child.key not in told
    assert unbuilt.key not in told


@pytest.mark.parametrize("log", ["", "by hand", "\U0001f9ec"])
def test_the_update_event_tells_the_reason(org: Organization, log: str):
    task = org.task_in("STATUS_WAITING_FOR_EXECUTOR_SLOT")
    for action in (pb.TASK_ACTION_EXECUTING, pb.TASK_ACTION_CANCELED):
        org.act(task, action, log)
    told = [event.metadata["reason"] for event in updates_of(org, task)]
    assert len(told) == 2
    assert all(log in reason for reason in told)
    assert all(told), "a reason is never empty"


def test_a_failure_report_ends_the_task_with_a_reason(org: Organization):
    task = org.task_in("STATUS_EXECUTING")
    org.send(task_failure(task))
    assert "reason" in updates_of(org, task)[-1].metadata


def test_each_transition_is_one_event(org: Organization):
    task = org.task_in("STATUS_DONE")
    events = org.events(asset_key=task.key, asset_kind=pb.ASSET_COMPUTE_TASK)
    history = [event.compute_task.status for event in events]
    assert history == [pb.STATUS_WAITING_FOR_EXECUTOR_SLOT, pb.STATUS_EXECUTING, pb.STATUS_DONE]


def test_a_second_done_is_refused_in_the_words_that_existing_workers_look_for(org: Organization):
    task = org.task_in("STATUS_EXECUTING")
    org.act(task, pb.TASK_ACTION_DONE)
    words = "transitionDone inappropriate in current state STATUS_DONE"
    org.refused(task_action(task, pb.TASK_ACTION_DONE), "OE0104", words=words)
    canceled = org.task_in("STATUS_CANCELED")
    words = "transitionDone inappropriate in current state STATUS_CANCELED"
    org.refused(task_action(canceled, pb.TASK_ACTION_DONE), "OE0104", words=words)
