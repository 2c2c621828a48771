"""Permissions: who is named in them, their union, and who may update an asset."""

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator import protos as pb
from tests.kit.messages import (
    DATA_INPUTS,
    MODEL,
    address,
    by_key,
    new_data_manager,
    new_function,
    new_key,
    new_plan,
    new_task,
    output,
    shared_with,
    tasks,
)
from tests.kit.organization import Organization


def permissions_in(org: Organization) -> dict[str, tuple[Callable[..., Any], Callable[[Any], pb.Permissions]]]:
    """Every place that takes permissions: what makes the request, and what reads the answer."""
    function, plan = org.register_function(), org.register_plan()
    return {
        "function": (
            lambda permissions: new_function(new_permissions=permissions),
            lambda function: function.permissions,
        ),
        "data manager": (
            lambda permissions: new_data_manager(new_permissions=permissions),
            lambda manager: manager.permissions,
        ),
        "logs of a data manager": (
            lambda permissions: new_data_manager(logs_permission=permissions),
            lambda manager: pb.Permissions(process=manager.logs_permission, download=manager.logs_permission),
        ),
        "task output": (
            lambda permissions: tasks(new_task(function, plan, outputs={"model": output(permissions)})),
            lambda response: response.tasks[0].outputs["model"].permissions,
        ),
    }


every_place = pytest.mark.parametrize("place", ["function", "data manager", "logs of a data manager", "task output"])


@every_place
def test_each_id_is_a_registered_organization(org: Organization, place: str):
    request, read = permissions_in(org)[place]
    assert read(org.send(request(shared_with("org-1", "org-3")))).process.authorized_ids == ["org-1", "org-3"]
    for stranger in ("org-4", "", "ORG-1", "org-1 "):
        org.refused(request(shared_with("org-1", stranger)), "OE0003")


@every_place
def test_an_organization_that_has_not_registered_is_unknown(bare: dict[str, Organization], place: str):
    for name in ("org-1", "org-2"):
        bare[name].send(pb.RegisterOrganizationParam())
    request, _ = permissions_in(bare["org-1"])[place]
    bare["org-1"].send(request(shared_with("org-2")))
    bare["org-1"].refused(request(shared_with("org-3")), "OE0003")


@every_place
@pytest.mark.parametrize("public", [False, True])
def test_the_owner_is_appended_when_absent(org: Organization, place: str, public: bool):
    request, read = permissions_in(org)[place]
    for given, kept in (
        ([], ["org-1"]),
        (["org-3", "org-2"], ["org-3", "org-2", "org-1"]),
        (["org-1", "org-2"], ["org-1", "org-2"]),
    ):
        permissions = pb.NewPermissions(public=public, authorized_ids=given)
        stored = read(org.send(request(permissions)))
        assert stored.process == pb.Permission(public=public, authorized_ids=kept)
        assert stored.download == stored.process


def test_logs_go_to_the_owner_of_a_task_without_parents(org: Organization):
    task = org.register_task(org.register_function(), org.register_plan(), worker="org-2")
    assert task.logs_permission == pb.Permission(public=False, authorized_ids=["org-1"])


def data_task(org: Organization, plan: pb.ComputePlan, owner: Organization, logs: pb.NewPermissions) -> pb.ComputeTask:
    """A task of org on data of the owner, who shows the logs to some."""
    manager = owner.register_data_manager(logs_permission=logs)
    sample = owner.register_data_sample(manager)
    function = org.register_function(inputs=DATA_INPUTS, outputs={"model": MODEL})
    inputs = [by_key("opener", manager), by_key("samples", sample)]
    return org.register_task(function, plan, inputs=inputs, worker=owner.name)


def test_logs_go_where_the_data_manager_says(org: Organization, other: Organization, plan: pb.ComputePlan):
    task = data_task(org, plan, other, shared_with("org-3"))
    assert task.logs_permission == pb.Permission(public=False, authorized_ids=["org-3", "org-2"])
    assert data_task(org, plan, other, pb.NewPermissions(public=True)).logs_permission.public


def test_logs_go_to_the_union_of_the_owner_and_the_parents(
    org: Organization, other: Organization, third: Organization, plan: pb.ComputePlan, function: pb.Function
):
    first = data_task(org, plan, other, shared_with())
    second = data_task(org, plan, third, shared_with())
    open_to_all = data_task(org, plan, third, pb.NewPermissions(public=True))
    one = org.register_task(function, plan, [first])
    assert not one.logs_permission.public
    assert sorted(one.logs_permission.authorized_ids) == ["org-1", "org-2"]
    both = org.register_task(function, plan, [first, second])
    assert not both.logs_permission.public
    assert sorted(both.logs_permission.authorized_ids) == ["org-1", "org-2", "org-3"]
    assert org.register_task(function, plan, [first, open_to_all]).logs_permission.public
    grandchild = org.register_task(function, plan, [one])
    assert sorted(grandchild.logs_permission.authorized_ids) == ["org-1", "org-2"]


def test_logs_of_parents_in_the_same_call_count(org: Organization, other: Organization, function: pb.Function):
    plan = org.register_plan()
    parent = data_task(org, plan, other, shared_with("org-3"))
    child = new_task(function, plan, [parent])
    grandchild = new_task(function, plan, [child])
    registered = {task.key: task for task in org.send(tasks(grandchild, child)).tasks}
    for task in (child, grandchild):
        ids = registered[task.key].logs_permission.authorized_ids
        assert sorted(ids) == ["org-1", "org-2", "org-3"]


def test_only_the_owner_updates_an_asset(org: Organization, other: Organization):
    function, plan = org.register_function(), org.register_plan()
    updates = [
        pb.UpdateComputePlanParam(key=plan.key, name="renamed"),
        pb.UpdateDataManagerParam(key=org.register_data_manager().key, name="renamed"),
        pb.UpdateFunctionParam(key=function.key, name="renamed", image=address()),
        pb.ApplyFunctionActionParam(
            function_key=org.register_function(pb.FUNCTION_STATUS_WAITING).key,
            action=pb.FUNCTION_ACTION_BUILDING,
        ),
        pb.ApplyPlanActionParam(key=plan.key, action=pb.PLAN_ACTION_CANCELED),
    ]
    for update in updates:
        other.refused(update, "OE0102")
        org.send(update)


def test_what_does_not_exist_is_not_updated(org: Organization):
    for update in (
        pb.UpdateComputePlanParam(key=new_key(), name="renamed"),
        pb.UpdateDataManagerParam(key=new_key(), name="renamed"),
        pb.UpdateFunctionParam(key=new_key(), name="renamed", image=address()),
        pb.ApplyFunctionActionParam(function_key=new_key(), action=pb.FUNCTION_ACTION_BUILDING),
        pb.ApplyPlanActionParam(key=new_key(), action=pb.PLAN_ACTION_CANCELED),
    ):
        org.refused(update, "OE0002")


def test_only_names_change_and_the_image_of_a_function(org: Organization):
    plan = org.send(new_plan(metadata={"k": "v"}))
    org.send(pb.UpdateComputePlanParam(key=plan.key, name="renamed"))
    plan.name = "renamed"
    assert org.plan(plan) == plan

    manager = org.register_data_manager(new_permissions=shared_with("org-2"))
    org.send(pb.UpdateDataManagerParam(key=manager.key, name="renamed"))
    manager.name = "renamed"
    assert org.send(pb.GetDataManagerParam(key=manager.key)) == manager

    function = org.register_function(new_permissions=shared_with("org-2"))
    image = address(checksum="f" * 64, storage_address="https://images.example/1")
    org.send(pb.UpdateFunctionParam(key=function.key, name="renamed", image=image))
    function.name = "renamed"
    function.image.CopyFrom(image)
    assert org.send(pb.GetFunctionParam(key=function.key)) == function


def test_whoever_may_not_process_may_still_read(org: Organization, other: Organization):
    function = org.register_function(new_permissions=shared_with())
    assert other.send(pb.GetFunctionParam(key=function.key)) == function
