"""Transient models that no task needs any more, whose files a worker deletes."""

import uuid

import grpc
import pytest
import structlog

from orchestrator import protos as pb
from tests.kit.waiting import wait_until
from tests.kit.world import World
from workers import disabling
from workers.channels import connect
from workers.folder import WorkingFolder
from workers.record import Record


def stored_model(world: World) -> pb.Model:
    """Return a model of the world's task, known to the orchestrator and with its file in the store."""
    key = str(uuid.uuid4())
    model = pb.Model(key=key, compute_task_key=world.task, address=world.put(f"models/{key}", b"model"))
    world.recorded.models[key] = model
    world.recorded.tasks[world.task] = pb.ComputeTask(
        key=world.task, outputs={"model": pb.ComputeTaskOutput(transient=True)}
    )
    return model


def disable(world: World) -> None:
    with connect(world.settings) as channels:
        disabling.disable(world.settings, channels, world.task)


@pytest.mark.parametrize("lost", [0, 1])
def test_models_are_disabled_and_their_files_deleted(world: World, lost: int) -> None:
    model = stored_model(world)
    world.recorded.disabling_unanswered = lost
    disable(world)
    assert not world.recorded.disabling_unanswered
    assert not model.HasField("address")
    assert not (world.store / "models" / model.key).exists()
    assert not world.files


def test_a_model_that_was_disabled_though_no_answer_ever_came_is_left_to_the_heart(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disabling, "_DISABLE_SECONDS", 0.1)
    model = stored_model(world)
    world.recorded.disabling_unanswered = 1000
    with pytest.raises(grpc.RpcError, match="the network is bad"):
        disable(world)
    file = world.store / "models" / model.key
    assert file.exists()
    assert world.files
    model.ClearField("address")
    with world.heart():
        wait_until(lambda: not file.exists(), message="the file to be deleted")
        wait_until(lambda: not world.files, message="the folder to be removed")


def test_whoever_hears_no_answer_leaves_the_deletion_to_the_heart(world: World) -> None:
    model = stored_model(world)
    world.recorded.unanswered = 2
    disable(world)
    file = world.store / "models" / model.key
    assert file.exists()
    with world.heart():
        wait_until(lambda: not file.exists(), message="the file to be deleted")
        wait_until(lambda: not world.files, message="the folder to be removed")
    assert not world.recorded.unanswered
    assert not any(beat.attempts for _, beat in world.recorded.heartbeats)
    assert not world.recorded.failed


def test_models_of_a_channel_that_the_organization_has_left_are_given_up_with_a_word(
    world: World,
) -> None:
    model = stored_model(world)
    with WorkingFolder(world.settings.node_folder, "models", Record.of_models(world.task, "left")) as folder:
        folder.unsettled = True
    with structlog.testing.capture_logs() as logs, world.heart():
        wait_until(lambda: not world.files, message="the folder to be removed")
    assert (world.store / "models" / model.key).exists()
    assert "models.abandoned" in [line["event"] for line in logs]


def test_a_model_that_is_needed_after_all_is_left_where_it_is(world: World) -> None:
    model = stored_model(world)
    with WorkingFolder(world.settings.node_folder, "models", Record.of_models(world.task, "known")) as folder:
        folder.unsettled = True
    with world.heart():
        wait_until(lambda: not world.files, message="the folder to be removed")
    assert (world.store / "models" / model.key).exists()
