"""Deletes transient models that no task can need any more, because a poke said so."""

import grpc
import structlog

from orchestrator import protos as pb
from orchestrator.client import Client
from orchestrator.core import crash
from workers.channels import Channels
from workers.outputs import model_name
from workers.settings import WorkerSettings
from workers.store import AssetStore, own_name

log = structlog.get_logger()


def disable(settings: WorkerSettings, channels: Channels, task: str) -> None:
    """Disable the transient outputs of a task of this organization, and delete their files.

    The orchestrator says first whether that may be: a poke that came too early does nothing. One that comes again, as
    after a crash, deletes what the first one left.

    Args:
        settings: the worker's.
        channels: the organization's connections; the first that knows the task is used.
        task: its key.
    """
    try:
        client, found = channels.find(lambda client: client.tasks.GetTask(pb.GetTaskParam(key=task)))
    except grpc.RpcError as error:
        log.info("outputs.not_disabled", task=task, reason=error.details())
        return
    before = _models(client, task)
    for identifier, output in found.outputs.items():
        if output.transient:
            _disable_one(client, task, identifier)
    crash.point("worker.outputs_disabled")
    store = AssetStore(settings.store_root)
    for key, model in _models(client, task).items():
        if model.HasField("address"):
            continue
        # After a crash the address is gone already; what this worker stored lies under its key.
        address = before.get(key, model).address.storage_address
        if name := own_name(settings.store_url, address) if address else model_name(key):
            store.delete(name)
            log.info("model.deleted", task=task, name=name)


def _disable_one(client: Client, task: str, identifier: str) -> None:
    try:
        client.tasks.DisableOutput(pb.DisableOutputParam(compute_task_key=task, identifier=identifier))
    except grpc.RpcError as error:
        # Disabled already, or needed after all.
        log.info("output.not_disabled", task=task, output=identifier, reason=error.details())


def _models(client: Client, task: str) -> dict[str, pb.Model]:
    answer = client.models.GetComputeTaskOutputModels(pb.GetComputeTaskModelsParam(compute_task_key=task))
    return {model.key: model for model in answer.models}
