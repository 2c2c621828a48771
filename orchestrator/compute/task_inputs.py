"""The inputs of a task, resolved to the assets to use."""

from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute import assets, models, results, tasks
from orchestrator.core import states
from orchestrator.core.errors import BadRequestError
from orchestrator.core.fields import parse_key
from orchestrator.engine.transaction import Transaction

_DEFINED = (pb.STATUS_WAITING_FOR_EXECUTOR_SLOT, pb.STATUS_EXECUTING, pb.STATUS_FAILED)


def get(transaction: Transaction, wanted: pb.GetTaskInputAssetsParam) -> pb.GetTaskInputAssetsResponse:
    """Return the assets that a task To do, Doing or Failed uses."""
    task = tasks.get(transaction, parse_key(wanted.compute_task_key, "compute_task_key"))
    if task.status not in _DEFINED:
        raise BadRequestError(f"task {task.key} is {states.TASK_WORDS[task.status]}: its inputs may not be defined")
    function = results.function_of(transaction, task)
    return pb.GetTaskInputAssetsResponse(assets=resolve(transaction, task, function))


def resolve(transaction: Transaction, task: pb.ComputeTask, function: pb.Function) -> list[pb.ComputeTaskInputAsset]:
    """Return the assets of a task's inputs in the order of registration, those of multiple outputs one by one."""
    by_kind: dict[int, list[UUID]] = {}
    for given in task.inputs:
        if given.WhichOneof("ref") == "asset_key":
            by_kind.setdefault(function.inputs[given.identifier].kind, []).append(UUID(given.asset_key))
    managers = assets.data_managers.get_many(transaction, by_kind.get(pb.ASSET_DATA_MANAGER, ()))
    samples = assets.data_samples.get_many(transaction, by_kind.get(pb.ASSET_DATA_SAMPLE, ()))
    given_models = assets.models.get_many(transaction, by_kind.get(pb.ASSET_MODEL, ()))
    parents = {
        UUID(given.parent_task_output.parent_task_key)
        for given in task.inputs
        if given.WhichOneof("ref") == "parent_task_output"
    }
    made = models.by_output(transaction, list(parents)) if parents else {}
    resolved = []
    for given in task.inputs:
        identifier, key = given.identifier, given.asset_key
        ref = given.parent_task_output
        if given.WhichOneof("ref") == "parent_task_output":
            for model in made.get((ref.parent_task_key, ref.output_identifier), ()):
                resolved.append(pb.ComputeTaskInputAsset(identifier=identifier, model=model))
        elif key in managers:
            resolved.append(pb.ComputeTaskInputAsset(identifier=identifier, data_manager=managers[key]))
        elif key in samples:
            resolved.append(pb.ComputeTaskInputAsset(identifier=identifier, data_sample=samples[key]))
        elif key in given_models:
            resolved.append(pb.ComputeTaskInputAsset(identifier=identifier, model=given_models[key]))
    return resolved
