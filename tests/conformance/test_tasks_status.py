"""Tasks: the status they begin with."""

from typing import Any

import pytest

from orchestrator import protos as pb
from tests.kit.messages import new_task, tasks
from tests.kit.organization import Organization

INITIAL = {
    pb.FUNCTION_STATUS_WAITING: "STATUS_WAITING_FOR_BUILDER_SLOT",
    pb.FUNCTION_STATUS_BUILDING: "STATUS_BUILDING",
    pb.FUNCTION_STATUS_READY: "STATUS_WAITING_FOR_EXECUTOR_SLOT",
    pb.FUNCTION_STATUS_FAILED: "STATUS_FAILED",
    pb.FUNCTION_STATUS_CANCELED: "STATUS_CANCELED",
}
every_function_status = pytest.mark.parametrize(
    "status", INITIAL, ids=[pb.FunctionStatus.Name(status) for status in INITIAL]
)


@every_function_status
def test_without_parents_the_status_is_given_by_the_function(org: Organization, plan: pb.ComputePlan, status: Any):
    task = org.register_task(org.register_function(status), plan)
    assert pb.ComputeTaskStatus.Name(task.status) == INITIAL[status]
    assert org.status(task) == INITIAL[status]


@every_function_status
def test_with_a_done_parent_the_status_is_given_by_the_function(org: Organization, plan: pb.ComputePlan, status: Any):
    parent = org.task_in("STATUS_DONE", plan)
    task = org.register_task(org.register_function(status), plan, [parent])
    assert pb.ComputeTaskStatus.Name(task.status) == INITIAL[status]


@pytest.mark.parametrize(
    "parent",
    [
        "STATUS_WAITING_FOR_BUILDER_SLOT",
        "STATUS_BUILDING",
        "STATUS_WAITING_FOR_PARENT_TASKS",
        "STATUS_WAITING_FOR_EXECUTOR_SLOT",
        "STATUS_EXECUTING",
    ],
)
def test_with_a_parent_that_has_not_ended_a_ready_function_waits(
    org: Organization, plan: pb.ComputePlan, function: pb.Function, parent: str
):
    done, pending = org.task_in("STATUS_DONE", plan), org.task_in(parent, plan)
    assert org.register_task(function, plan, [pending]).status == pb.STATUS_WAITING_FOR_PARENT_TASKS
    assert org.register_task(function, plan, [done, pending]).status == pb.STATUS_WAITING_FOR_PARENT_TASKS


@pytest.mark.parametrize("parent", ["STATUS_FAILED", "STATUS_CANCELED"])
@every_function_status
def test_a_failed_or_canceled_parent_gives_canceled(org: Organization, plan: pb.ComputePlan, parent: str, status: Any):
    done = org.task_in("STATUS_DONE", plan)
    ended = org.task_in(parent, plan)
    function = org.register_function(status)
    assert org.register_task(function, plan, [done, ended]).status == pb.STATUS_CANCELED


def test_a_child_of_a_canceled_task_of_the_same_call_is_canceled(
    org: Organization, plan: pb.ComputePlan, function: pb.Function
):
    ended = org.task_in("STATUS_CANCELED", plan)
    child = new_task(function, plan, [ended])
    grandchild = new_task(function, plan, [child])
    unrelated = new_task(function, plan)
    registered = {task.key: task.status for task in org.send(tasks(grandchild, unrelated, child)).tasks}
    assert registered == {
        child.key: pb.STATUS_CANCELED,
        grandchild.key: pb.STATUS_CANCELED,
        unrelated.key: pb.STATUS_WAITING_FOR_EXECUTOR_SLOT,
    }


def test_a_child_of_a_task_that_begins_failed_is_canceled(
    org: Organization, plan: pb.ComputePlan, function: pb.Function
):
    failed = new_task(org.register_function(pb.FUNCTION_STATUS_FAILED), plan)
    child = new_task(function, plan, [failed])
    registered = [task.status for task in org.send(tasks(child, failed)).tasks]
    assert registered == [pb.STATUS_FAILED, pb.STATUS_CANCELED]


def test_a_registered_task_waits_for_its_parents_of_the_same_call(
    org: Organization, plan: pb.ComputePlan, function: pb.Function
):
    parent = new_task(function, plan)
    child = new_task(function, plan, [parent])
    statuses = [task.status for task in org.send(tasks(child, parent)).tasks]
    assert statuses == [pb.STATUS_WAITING_FOR_EXECUTOR_SLOT, pb.STATUS_WAITING_FOR_PARENT_TASKS]
