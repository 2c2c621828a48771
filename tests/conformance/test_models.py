"""Models: registered by the worker while it executes the task."""

import pytest

from orchestrator import protos as pb
from tests.kit.messages import MODEL, MODELS, SCORE, models, new_key, new_model, output, shared_with
from tests.kit.organization import Organization, refuses

OTHER_STATES = [
    "STATUS_WAITING_FOR_BUILDER_SLOT",
    "STATUS_BUILDING",
    "STATUS_WAITING_FOR_PARENT_TASKS",
    "STATUS_WAITING_FOR_EXECUTOR_SLOT",
    "STATUS_DONE",
    "STATUS_CANCELED",
    "STATUS_FAILED",
]


@pytest.fixture
def executing(org: Organization, other: Organization, plan: pb.ComputePlan) -> pb.ComputeTask:
    """A task of org-1 that org-2 executes, with several outputs."""
    function = org.register_function(outputs={"model": MODEL, "models": MODELS, "score": SCORE})
    outputs = {"model": output(shared_with("org-3")), "models": output(), "score": output()}
    task = org.register_task(function, plan, worker="org-2", outputs=outputs)
    other.start(task)
    return task


def test_a_model_takes_its_permissions_from_the_output_and_its_owner_is_the_worker(
    other: Organization, executing: pb.ComputeTask
):
    new = new_model(executing)
    (model,) = other.send(models(new)).models
    assert model.key == new.key
    assert model.compute_task_key == executing.key
    assert model.address == new.address
    assert model.permissions == executing.outputs["model"].permissions
    assert model.permissions.process.authorized_ids == ["org-3", "org-1"]
    assert model.owner == "org-2"
    assert other.send(pb.GetModelParam(key=model.key)) == model
    assert list(other.send(pb.GetComputeTaskModelsParam(compute_task_key=executing.key)).models) == [model]


def test_only_the_worker_registers_models(
    org: Organization, other: Organization, third: Organization, executing: pb.ComputeTask
):
    for stranger in (org, third):
        stranger.refused(models(new_model(executing)), "OE0102")
    other.register_model(executing)


@pytest.mark.parametrize("status", OTHER_STATES)
def test_only_while_executing(org: Organization, status: str):
    org.refused(models(new_model(org.task_in(status))), "OE0003")
    org.refused(new_model(org.task_in(status)), "OE0003")


def test_the_task_exists(org: Organization):
    org.refused(models(new_model(new_key())), "OE0002")
    with refuses("OE0002"):
        org.send(pb.GetComputeTaskModelsParam(compute_task_key=new_key()))


def test_the_output_exists(other: Organization, executing: pb.ComputeTask):
    for identifier in ("", "other", "Model"):
        request = models(new_model(executing, compute_task_output_identifier=identifier))
        other.refused(request, "OE0106")


def test_the_output_is_of_that_kind(other: Organization, executing: pb.ComputeTask):
    other.refused(models(new_model(executing, compute_task_output_identifier="score")), "OE0107")


def test_a_second_model_on_a_single_output_is_a_conflict(other: Organization, executing: pb.ComputeTask):
    other.refused(models(new_model(executing), new_model(executing)), "OE0006")
    other.register_model(executing)
    other.refused(models(new_model(executing)), "OE0006")
    other.refused(new_model(executing), "OE0006")


def test_a_multiple_output_takes_many_models(other: Organization, executing: pb.ComputeTask):
    new = [new_model(executing, compute_task_output_identifier="models") for _ in range(3)]
    registered = list(other.send(models(*new)).models)
    registered.append(other.register_model(executing, compute_task_output_identifier="models"))
    assert [model.key for model in registered[:3]] == [model.key for model in new]
    stored = other.send(pb.GetComputeTaskModelsParam(compute_task_key=executing.key)).models
    assert sorted(model.key for model in stored) == sorted(model.key for model in registered)


def test_keys_that_are_taken_are_named_in_the_order_of_the_call(other: Organization, executing: pb.ComputeTask):
    new = [new_model(executing, compute_task_output_identifier="models") for _ in range(8)]
    other.send(models(*new))
    words = f"model {', '.join(model.key for model in reversed(new))} exists already"
    other.refused(models(*reversed(new)), "OE0006", words=words)


def test_one_call_is_about_one_task(org: Organization, plan: pb.ComputePlan):
    first, second = org.task_in("STATUS_EXECUTING", plan), org.task_in("STATUS_EXECUTING", plan)
    org.refused(models(new_model(first), new_model(second)), "OE0003")
    for task in (first, second):
        org.send(models(new_model(task)))


def test_the_deprecated_call_registers_one_model(other: Organization, executing: pb.ComputeTask):
    model = other.send(new_model(executing))
    assert model.owner == "org-2"
    assert other.send(pb.GetModelParam(key=model.key)) == model
    assert [event.asset_kind for event in other.events(start=model.creation_date)] == [
        pb.ASSET_MODEL,
        pb.ASSET_COMPUTE_TASK_OUTPUT_ASSET,
    ]


def test_only_the_worker_registers_with_the_deprecated_call(org: Organization, executing: pb.ComputeTask):
    org.refused(new_model(executing), "OE0102")
    org.refused(new_model(executing, key="no key"), "OE0101")


def test_each_model_gives_an_asset_event_then_an_output_event(other: Organization, executing: pb.ComputeTask):
    registered = other.send(
        models(
            new_model(executing),
            new_model(executing, compute_task_output_identifier="models"),
            new_model(executing, compute_task_output_identifier="models"),
        )
    ).models
    events = other.events(start=registered[0].creation_date)
    assert {event.event_kind for event in events} == {pb.EVENT_ASSET_CREATED}
    assert len(events) == 6
    for model, identifier in zip(registered, ("model", "models", "models"), strict=True):
        (asset,) = (event for event in events if event.asset_key == model.key)
        assert asset.asset_kind == pb.ASSET_MODEL
        assert asset.model == model
        expected = pb.ComputeTaskOutputAsset(
            compute_task_key=executing.key,
            compute_task_output_identifier=identifier,
            asset_kind=pb.ASSET_MODEL,
            asset_key=model.key,
        )
        (produced,) = (event for event in events if event.compute_task_output_asset == expected)
        assert produced.asset_kind == pb.ASSET_COMPUTE_TASK_OUTPUT_ASSET
        assert produced.asset_key == executing.key
        assert events.index(asset) < events.index(produced)
