"""Tasks: `GetTaskInputAssets`, and `DisableOutput`."""

from typing import Any

import pytest

from orchestrator import protos as pb
from tests.kit.messages import (
    DATA_INPUTS,
    MODEL,
    MODELS,
    SCORE,
    by_key,
    by_parent,
    models,
    new_data_sample,
    new_key,
    new_model,
    new_performance,
    output,
    samples,
)
from tests.kit.organization import Organization, refuses

TRANSIENT = {"outputs": {"model": output(transient=True)}}


def input_assets(org: Organization, task: Any) -> list[pb.ComputeTaskInputAsset]:
    return list(org.send(pb.GetTaskInputAssetsParam(compute_task_key=task.key)).assets)


@pytest.mark.parametrize("status", ["STATUS_WAITING_FOR_EXECUTOR_SLOT", "STATUS_EXECUTING", "STATUS_FAILED"])
def test_inputs_are_told_when_to_do_executing_or_failed(org: Organization, status: str):
    assert input_assets(org, org.task_in(status)) == []


@pytest.mark.parametrize(
    "status",
    [
        "STATUS_WAITING_FOR_BUILDER_SLOT",
        "STATUS_BUILDING",
        "STATUS_WAITING_FOR_PARENT_TASKS",
        "STATUS_DONE",
        "STATUS_CANCELED",
    ],
)
def test_inputs_are_not_told_in_other_states(org: Organization, status: str):
    request = pb.GetTaskInputAssetsParam(compute_task_key=org.task_in(status).key)
    org.refused(request, "OE0003", words="inputs may not be defined")


def test_inputs_of_an_unknown_task(org: Organization):
    with refuses("OE0002"):
        org.send(pb.GetTaskInputAssetsParam(compute_task_key=new_key()))


def test_inputs_come_in_the_order_of_registration(org: Organization, other: Organization, plan: pb.ComputePlan):
    manager = other.register_data_manager()
    registered = other.send(samples(*(new_data_sample(manager) for _ in range(3)))).data_samples
    first, second, third = sorted(registered, key=lambda sample: sample.key)
    source = org.register_function(inputs={}, outputs={"model": MODEL})
    parents = [org.register_task(source, plan) for _ in range(2)]
    made = []
    for parent in parents:
        org.start(parent)
        made.append(org.register_model(parent))
        org.act(parent, pb.TASK_ACTION_DONE)
    function = org.register_function(
        inputs={**DATA_INPUTS, "models": pb.FunctionInput(kind=pb.ASSET_MODEL, multiple=True)}
    )
    inputs = [
        by_key("samples", third),
        by_parent("models", parents[1]),
        by_key("samples", first),
        by_key("opener", manager),
        by_key("models", made[0]),
        by_key("samples", second),
    ]
    task = org.register_task(function, plan, inputs=inputs, worker="")
    expected = [
        pb.ComputeTaskInputAsset(identifier="samples", data_sample=third),
        pb.ComputeTaskInputAsset(identifier="models", model=made[1]),
        pb.ComputeTaskInputAsset(identifier="samples", data_sample=first),
        pb.ComputeTaskInputAsset(identifier="opener", data_manager=manager),
        pb.ComputeTaskInputAsset(identifier="models", model=made[0]),
        pb.ComputeTaskInputAsset(identifier="samples", data_sample=second),
    ]
    for organization in (org, other):
        assert input_assets(organization, task) == expected


def test_a_multiple_output_is_expanded_in_the_order_of_its_registration(
    org: Organization, plan: pb.ComputePlan, function: pb.Function
):
    wide = org.register_function(outputs={"model": MODELS})
    parent, single = org.register_task(wide, plan), org.register_task(function, plan)
    task = org.register_task(function, plan, [parent, single])
    org.start(parent)
    keys = sorted((new_key() for _ in range(6)), reverse=True)
    made = list(org.send(models(*(new_model(parent, key=key) for key in keys[:4]))).models)
    made += org.send(models(*(new_model(parent, key=key) for key in keys[4:]))).models
    org.act(parent, pb.TASK_ACTION_DONE)
    org.complete(single)
    (last,) = org.send(pb.GetComputeTaskModelsParam(compute_task_key=single.key)).models
    assets = input_assets(org, task)
    assert [asset.model.key for asset in assets] == [*keys, last.key]
    assert {asset.identifier for asset in assets} == {"models"}
    assert sorted(asset.model.key for asset in assets[:6]) == sorted(model.key for model in made)


def test_one_output_of_several_is_taken(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    pair = org.register_function(outputs={"model": MODEL, "backup": MODEL})
    parent = org.register_task(pair, plan)
    task = org.register_task(function, plan, inputs=[by_parent("models", parent, "backup")])
    org.complete(parent, "model", "backup")
    (asset,) = input_assets(org, task)
    assert asset.model.compute_task_key == parent.key
    backups = org.events(asset_kind=pb.ASSET_COMPUTE_TASK_OUTPUT_ASSET)
    (backup,) = (
        event.compute_task_output_asset.asset_key
        for event in backups
        if event.compute_task_output_asset.compute_task_output_identifier == "backup"
    )
    assert asset.model.key == backup


def disable(task: Any, identifier: str = "model") -> pb.DisableOutputParam:
    return pb.DisableOutputParam(compute_task_key=task.key, identifier=identifier)


def test_a_disabled_model_loses_its_address(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    task = org.register_task(function, plan, **TRANSIENT)
    child = org.register_task(function, plan, [task])
    org.complete(task)
    org.complete(child)
    (model,) = org.send(pb.GetComputeTaskModelsParam(compute_task_key=task.key)).models
    assert model.HasField("address")
    org.send(disable(task))
    model.ClearField("address")
    assert org.send(pb.GetModelParam(key=model.key)) == model
    assert list(org.send(pb.GetComputeTaskModelsParam(compute_task_key=task.key)).models) == [model]
    (event,) = org.events(event_kind=pb.EVENT_ASSET_DISABLED)
    assert (event.asset_kind, event.asset_key) == (pb.ASSET_MODEL, model.key)
    assert event.model == model
    assert org.task(task).status == pb.STATUS_DONE


def test_every_model_of_a_multiple_output_is_disabled(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    wide = org.register_function(outputs={"model": MODELS})
    task = org.register_task(wide, plan, **TRANSIENT)
    child = org.register_task(function, plan, [task])
    org.complete(task, "model", "model", "model")
    org.complete(child)
    org.send(disable(task))
    made = org.send(pb.GetComputeTaskModelsParam(compute_task_key=task.key)).models
    assert [model.HasField("address") for model in made] == [False] * 3
    events = org.events(event_kind=pb.EVENT_ASSET_DISABLED)
    assert sorted(event.asset_key for event in events) == sorted(model.key for model in made)


def test_the_worker_disables(org: Organization, other: Organization, plan: pb.ComputePlan, function: pb.Function):
    task = org.register_task(function, plan, worker="org-2", **TRANSIENT)
    child = org.register_task(function, plan, [task])
    other.complete(task)
    org.complete(child)
    org.refused(disable(task), "OE0102")
    other.send(disable(task))


def test_the_task_must_have_ended(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    task = org.register_task(function, plan, **TRANSIENT)
    child = org.register_task(function, plan, [task])
    org.start(task)
    org.register_model(task)
    org.act(child, pb.TASK_ACTION_CANCELED)
    org.refused(disable(task), "OE0108")
    org.act(task, pb.TASK_ACTION_FAILED)
    org.send(disable(task))


def test_the_output_must_be_transient(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    task = org.register_task(function, plan)
    child = org.register_task(function, plan, [task])
    org.complete(task)
    org.complete(child)
    org.refused(disable(task), "OE0108")


def test_the_output_must_have_assets(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    task = org.register_task(function, plan, **TRANSIENT)
    child = org.register_task(function, plan, [task])
    org.start(task)
    org.act(task, pb.TASK_ACTION_FAILED)
    org.act(child, pb.TASK_ACTION_CANCELED)
    org.refused(disable(task), "OE0108")


def test_the_output_must_exist(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    org.refused(disable(pb.ComputeTask(key=new_key())), "OE0002")
    task = org.register_task(function, plan, **TRANSIENT)
    child = org.register_task(function, plan, [task])
    org.complete(task)
    org.complete(child)
    org.refused(disable(task, "other"), "OE0106", "OE0108")


def test_there_is_a_child_and_all_children_have_ended(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    task = org.register_task(function, plan, **TRANSIENT)
    org.complete(task)
    org.refused(disable(task), "OE0108")
    ended, failed, running = (org.register_task(function, plan, [task]) for _ in range(3))
    org.refused(disable(task), "OE0108")
    org.complete(ended)
    org.act(failed, pb.TASK_ACTION_FAILED)
    org.refused(disable(task), "OE0108")
    org.start(running)
    org.refused(disable(task), "OE0108")
    org.act(running, pb.TASK_ACTION_CANCELED)
    org.send(disable(task))


def test_a_performance_is_not_disabled(org: Organization, plan: pb.ComputePlan, function: pb.Function):
    scored = org.register_function(outputs={"model": MODEL, "score": SCORE})
    task = org.register_task(scored, plan)
    child = org.register_task(function, plan, [task])
    org.start(task)
    org.register_model(task)
    org.send(new_performance(task))
    org.act(task, pb.TASK_ACTION_DONE)
    org.complete(child)
    org.refused(disable(task, "score"), "OE0108")
