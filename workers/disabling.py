"""Deletes transient models that no task can need any more, because a poke said so."""

import grpc
import structlog

from orchestrator import protos as pb
from orchestrator.client import Client
from workers.channels import Channels
from workers.settings import WorkerSettings
from workers.store import AssetStore, own_name

log = structlog.get_logger()


def disable(settings: WorkerSettings, channels: Channels, task: str) -> None:
    """Disable the transient outputs of a task of this organization, and delete their files.

    The orchestrator says first whether that may be: a poke that came too early does nothing.

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
    before = _addresses(client, task)
    for identifier, output in found.outputs.items():
        if output.transient:
            _disable_one(client, task, identifier)
    store = AssetStore(settings.store_root)
    for address in before - _addresses(client, task):
        if name := own_name(settings.store_url, address):
            store.delete(name)
            log.info("model.deleted", task=task, name=name)


def _disable_one(client: Client, task: str, identifier: str) -> None:
    try:
        client.tasks.DisableOutput(pb.DisableOutputParam(compute_task_key=task, identifier=identifier))
    except grpc.RpcError as error:
        # Disabled already, or needed after all.
        log.info("output.not_disabled", task=task, output=identifier, reason=error.details())


def _addresses(client: Client, task: str) -> set[str]:
    answer = client.models.GetComputeTaskOutputModels(pb.GetComputeTaskModelsParam(compute_task_key=task))
    return {model.address.storage_address for model in answer.models if model.HasField("address")}
