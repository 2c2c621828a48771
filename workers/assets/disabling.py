"""Deletes transient models that no task can need any more, because a poke said so.

The orchestrator knows a model as disabled before its file is deleted, and does not poke for it again. So whoever is
killed in between, or hears no answer, leaves a record in the node's folder, and the agent deletes the file.
"""

import grpc
import structlog

from orchestrator import protos as pb
from orchestrator.client import Client
from orchestrator.client.insistence import insist, lost
from orchestrator.core import crash
from workers.assets.addresses import model_name
from workers.assets.store import AssetStore
from workers.channels import Channels
from workers.folder import WorkingFolder
from workers.record import Record
from workers.settings import WorkerSettings

log = structlog.get_logger()

_CALL_SECONDS = 5.0
_DISABLE_SECONDS = 30.0


def disable(settings: WorkerSettings, channels: Channels, task: str) -> None:
    """Disable the transient outputs of a task of this organization, and delete their files.

    The orchestrator says first whether that may be: a poke that came too early does nothing.

    Args:
        settings: the worker's.
        channels: the organization's connections; the first that knows the task is used.
        task: its key.

    Raises:
        OSError: the node's folder cannot be written, and nothing was disabled; or a file cannot be deleted, which the
            agent goes on trying.
        grpc.RpcError: the orchestrator did not say for 30 s whether an output is disabled; the agent goes on.
    """
    try:
        client, found = channels.find(lambda client: client.tasks.GetTask(pb.GetTaskParam(key=task)))
    except grpc.RpcError as error:
        log.info("outputs.not_disabled", task=task, reason=error.details())
        return
    record = Record.of_models(task, client.channel)
    with WorkingFolder(settings.node_folder, f"models-{task}", record) as folder:
        folder.unsettled = True
        for identifier, output in found.outputs.items():
            if output.transient:
                _disable_one(client, task, identifier)
        crash.point("worker.outputs_disabled")
        folder.unsettled = not delete_disabled(client, task, AssetStore(settings.store_root))


def delete_disabled(client: Client, task: str, store: AssetStore) -> bool:
    """Delete the files of a task's models that are disabled.

    Args:
        client: the connection to the orchestrator, in the task's channel.
        task: its key.
        store: the organization's own.

    Returns:
        False when the orchestrator could not be asked which they are.

    Raises:
        OSError: a file cannot be deleted.
    """
    asked = pb.GetComputeTaskModelsParam(compute_task_key=task)
    try:
        models = client.models.GetComputeTaskOutputModels(asked, timeout=_CALL_SECONDS).models
    except grpc.RpcError as error:
        log.info("models.not_deleted", task=task, reason=error.details())
        return not lost(error)
    for model in models:
        if not model.HasField("address"):
            name = model_name(model.key)
            store.delete(name)
            log.info("model.deleted", task=task, name=name)
    return True


def _disable_one(client: Client, task: str, identifier: str) -> None:
    asked = pb.DisableOutputParam(compute_task_key=task, identifier=identifier)
    try:
        insist(lambda: client.tasks.DisableOutput(asked, timeout=_CALL_SECONDS), _DISABLE_SECONDS)
    except grpc.RpcError as error:
        if lost(error):
            raise
        # Disabled already, or needed after all.
        log.info("output.not_disabled", task=task, output=identifier, reason=error.details())
