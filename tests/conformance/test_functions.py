"""Functions: their status, their image, and what their building does to tasks."""

from typing import Any

import pytest

from orchestrator import protos as pb
from tests.kit.messages import DATA_INPUTS, MODEL, SCORE, address, new_function, new_key, new_task, shared_with, tasks
from tests.kit.organization import Organization

STATUSES = ["WAITING", "BUILDING", "READY", "CANCELED", "FAILED"]
ACTIONS = ["BUILDING", "READY", "CANCELED", "FAILED"]
ALLOWED = {
    ("WAITING", "BUILDING"),
    ("WAITING", "CANCELED"),
    ("BUILDING", "READY"),
    ("BUILDING", "FAILED"),
    ("BUILDING", "CANCELED"),
}


def function_status(name: str) -> Any:
    return pb.FunctionStatus.Value(f"FUNCTION_STATUS_{name}")


def action_on(function: pb.Function, name: str) -> pb.ApplyFunctionActionParam:
    action = pb.FunctionAction.Value(f"FUNCTION_ACTION_{name}")
    return pb.ApplyFunctionActionParam(function_key=function.key, action=action)


def stored(org: Organization, function: pb.Function) -> pb.Function:
    return org.send(pb.GetFunctionParam(key=function.key))


def test_a_new_function_is_waiting_and_its_image_is_empty(org: Organization):
    new = new_function(
        metadata={"k": "v"},
        inputs=DATA_INPUTS,
        outputs={"model": MODEL, "score": SCORE},
        new_permissions=shared_with("org-2"),
    )
    function = org.send(new)
    for seen in (
        function,
        stored(org, function),
        *org.all(pb.QueryFunctionsParam()),
        *(event.function for event in org.events(asset_key=function.key)),
    ):
        assert seen == function
        assert seen.HasField("image")
        assert seen.image == pb.Addressable()
    assert function.key == new.key
    assert function.name == new.name
    assert function.owner == "org-1"
    assert function.description == new.description
    assert function.archive == new.archive
    assert function.metadata == {"k": "v"}
    assert function.inputs == DATA_INPUTS
    assert function.outputs == {"model": MODEL, "score": SCORE}
    assert function.status == pb.FUNCTION_STATUS_WAITING
    assert function.permissions.process.authorized_ids == ["org-2", "org-1"]


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("status", STATUSES)
def test_status_changes_as_the_table_says(org: Organization, status: str, action: str):
    function = org.register_function(function_status(status))
    if (status, action) in ALLOWED:
        org.send(action_on(function, action))
        assert stored(org, function).status == function_status(action)
        event = org.events(asset_key=function.key)[-1]
        assert event.event_kind == pb.EVENT_ASSET_UPDATED
        assert event.function == stored(org, function)
    else:
        org.refused(action_on(function, action), "OE0104")
        assert stored(org, function) == function


@pytest.mark.parametrize("action", [pb.FUNCTION_ACTION_UNKNOWN, 99])
def test_an_unknown_action_is_refused(org: Organization, action: Any):
    function = org.register_function(pb.FUNCTION_STATUS_WAITING)
    request = pb.ApplyFunctionActionParam(function_key=function.key, action=action)
    org.refused(request, "OE0003", "OE0101", "OE0104")


@pytest.mark.parametrize("action", ACTIONS)
def test_only_the_owner_acts(org: Organization, other: Organization, action: str):
    for status in ("WAITING", "BUILDING"):
        function = org.register_function(function_status(status))
        other.refused(action_on(function, action), "OE0102")
        if (status, action) in ALLOWED:
            org.send(action_on(function, action))


def test_an_unknown_function_is_not_found(org: Organization):
    org.refused(action_on(pb.Function(key=new_key()), "BUILDING"), "OE0002")


def test_ready_needs_no_image(org: Organization):
    function = org.register_function(pb.FUNCTION_STATUS_BUILDING)
    org.send(action_on(function, "READY"))
    assert stored(org, function).image == pb.Addressable()


def test_an_update_leaves_a_ready_function_with_an_image(org: Organization):
    function = org.register_function(pb.FUNCTION_STATUS_BUILDING)
    org.send(action_on(function, "READY"))
    for image in (None, pb.Addressable(), address(checksum="")):
        request = pb.UpdateFunctionParam(key=function.key, name="renamed", image=image)
        org.refused(request, "OE0101")
    org.send(pb.UpdateFunctionParam(key=function.key, name="renamed", image=address()))
    assert stored(org, function).image == address()


@pytest.mark.parametrize("status", ["WAITING", "BUILDING"])
def test_a_function_that_is_not_ready_needs_no_image(org: Organization, status: str):
    function = org.register_function(function_status(status))
    org.send(pb.UpdateFunctionParam(key=function.key, name="renamed"))
    assert stored(org, function).name == "renamed"
    org.send(pb.UpdateFunctionParam(key=function.key, name="renamed", image=address()))
    assert stored(org, function).image == address()


def test_building_moves_its_tasks_to_building(org: Organization, plan: pb.ComputePlan):
    function = org.register_function(pb.FUNCTION_STATUS_WAITING)
    unrelated = org.task_in("STATUS_WAITING_FOR_BUILDER_SLOT", plan)
    parent = new_task(function, plan)
    child = new_task(function, plan, [parent])
    org.send(tasks(parent, child))
    canceled = org.register_task(function, plan)
    org.act(canceled, pb.TASK_ACTION_CANCELED)
    org.send(action_on(function, "BUILDING"))
    assert org.status(parent) == "STATUS_BUILDING"
    assert org.status(child) == "STATUS_BUILDING"
    assert org.status(unrelated) == "STATUS_WAITING_FOR_BUILDER_SLOT"
    assert org.status(canceled) == "STATUS_CANCELED"


def test_ready_moves_its_tasks_to_to_do_or_to_wait_for_their_parents(
    org: Organization, plan: pb.ComputePlan, function: pb.Function
):
    done, pending, failed = (org.register_task(function, plan) for _ in range(3))
    building = org.register_function(pb.FUNCTION_STATUS_BUILDING)
    alone = org.register_task(building, plan)
    child_of_done = org.register_task(building, plan, [done])
    child_of_two = org.register_task(building, plan, [done, pending])
    child_of_failed = org.register_task(building, plan, [failed])
    org.complete(done)
    assert org.status(child_of_done) == "STATUS_BUILDING"
    org.act(failed, pb.TASK_ACTION_FAILED)
    org.send(action_on(building, "READY"))
    assert org.status(alone) == "STATUS_WAITING_FOR_EXECUTOR_SLOT"
    assert org.status(child_of_done) == "STATUS_WAITING_FOR_EXECUTOR_SLOT"
    assert org.status(child_of_two) == "STATUS_WAITING_FOR_PARENT_TASKS"
    assert org.status(child_of_failed) == "STATUS_WAITING_FOR_PARENT_TASKS"
    org.complete(pending)
    assert org.status(child_of_two) == "STATUS_WAITING_FOR_EXECUTOR_SLOT"


@pytest.mark.parametrize("action", ["CANCELED", "FAILED"])
def test_the_end_of_a_build_ends_its_tasks(org: Organization, plan: pb.ComputePlan, action: str):
    function = org.register_function(pb.FUNCTION_STATUS_BUILDING)
    parent = new_task(function, plan)
    child = new_task(function, plan, [parent])
    org.send(tasks(parent, child))
    unrelated = org.task_in("STATUS_BUILDING", plan)
    org.send(action_on(function, action))
    assert org.status(parent) == f"STATUS_{action}"
    assert org.status(child) == f"STATUS_{action}"
    assert org.status(unrelated) == "STATUS_BUILDING"


@pytest.mark.parametrize("action", ["READY", "CANCELED", "FAILED"])
def test_the_function_and_its_tasks_change_in_one_transaction(org: Organization, plan: pb.ComputePlan, action: str):
    function = org.register_function(pb.FUNCTION_STATUS_BUILDING)
    moved = [org.register_task(function, plan) for _ in range(3)]
    org.send(action_on(function, action))
    (first, *_) = (event for event in org.events(asset_key=function.key) if event.function.status > 2)
    updates = org.events(event_kind=pb.EVENT_ASSET_UPDATED, asset_kind=pb.ASSET_COMPUTE_TASK)
    assert sorted(event.asset_key for event in updates) == sorted(task.key for task in moved)
    for event in updates:
        assert event.timestamp == first.timestamp
        assert event.compute_task == org.task(event.asset_key)


def test_functions_of_a_plan_are_those_that_its_tasks_use(org: Organization, plan: pb.ComputePlan):
    first, second, unused, elsewhere = (org.register_function() for _ in range(4))
    for function in (first, first, second):
        org.register_task(function, plan)
    org.register_task(elsewhere, org.register_plan())

    def used(plan_key: str) -> list[pb.Function]:
        return org.all(pb.QueryFunctionsParam(page_size=1, filter=pb.FunctionQueryFilter(compute_plan_key=plan_key)))

    assert used(plan.key) == [first, second]
    assert used(new_key()) == []
    assert org.all(pb.QueryFunctionsParam()) == [first, second, unused, elsewhere]
