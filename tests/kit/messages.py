"""Valid requests, which a test breaks in one place: `new_plan(name="")`."""

import uuid
from typing import Any

from orchestrator import protos as pb

CHECKSUM = "0123456789abcdef" * 4
URL = "https://store.example/asset"
PUBLIC = pb.NewPermissions(public=True)

AGGREGATE_INPUTS = {"models": pb.FunctionInput(kind=pb.ASSET_MODEL, multiple=True, optional=True)}
DATA_INPUTS = {
    "opener": pb.FunctionInput(kind=pb.ASSET_DATA_MANAGER),
    "samples": pb.FunctionInput(kind=pb.ASSET_DATA_SAMPLE, multiple=True),
}
MODEL = pb.FunctionOutput(kind=pb.ASSET_MODEL)
MODELS = pb.FunctionOutput(kind=pb.ASSET_MODEL, multiple=True)
SCORE = pb.FunctionOutput(kind=pb.ASSET_PERFORMANCE)


def new_key() -> str:
    return str(uuid.uuid4())


def key_of(asset: Any) -> str:
    """Return the key of a message that has one, or the key itself."""
    return asset if isinstance(asset, str) else str(asset.key)


def address(checksum: str = CHECKSUM, storage_address: str = URL) -> pb.Addressable:
    return pb.Addressable(checksum=checksum, storage_address=storage_address)


def shared_with(*organizations: str) -> pb.NewPermissions:
    return pb.NewPermissions(authorized_ids=organizations)


def new_plan(**changes: Any) -> pb.NewComputePlan:
    return pb.NewComputePlan(**{"key": new_key(), "name": "plan", "tag": "tag", **changes})


def new_function(**changes: Any) -> pb.NewFunction:
    """A function of any number of models to one model."""
    valid = {
        "key": new_key(),
        "name": "function",
        "description": address(),
        "archive": address(),
        "new_permissions": PUBLIC,
        "inputs": AGGREGATE_INPUTS,
        "outputs": {"model": MODEL},
    }
    return pb.NewFunction(**{**valid, **changes})


def new_data_manager(**changes: Any) -> pb.NewDataManager:
    valid = {
        "key": new_key(),
        "name": "data manager",
        "new_permissions": PUBLIC,
        "description": address(),
        "opener": address(),
        "logs_permission": PUBLIC,
    }
    return pb.NewDataManager(**{**valid, **changes})


def new_data_sample(*managers: Any, **changes: Any) -> pb.NewDataSample:
    valid = {
        "key": new_key(),
        "data_manager_keys": [key_of(manager) for manager in managers],
        "checksum": CHECKSUM,
    }
    return pb.NewDataSample(**{**valid, **changes})


def samples(*new: pb.NewDataSample) -> pb.RegisterDataSamplesParam:
    return pb.RegisterDataSamplesParam(samples=new)


def by_key(identifier: str, asset: Any) -> pb.ComputeTaskInput:
    return pb.ComputeTaskInput(identifier=identifier, asset_key=key_of(asset))


def by_parent(identifier: str, parent: Any, output: str = "model") -> pb.ComputeTaskInput:
    reference = pb.ParentTaskOutputRef(parent_task_key=key_of(parent), output_identifier=output)
    return pb.ComputeTaskInput(identifier=identifier, parent_task_output=reference)


def new_task(
    function: pb.Function, plan: Any, parents: tuple[Any, ...] | list[Any] = (), **changes: Any
) -> pb.NewComputeTask:
    """A task of org-1 that takes the model of each parent, with public outputs."""
    valid = {
        "key": new_key(),
        "function_key": function.key,
        "compute_plan_key": key_of(plan),
        "worker": "org-1",
        "inputs": [by_parent("models", parent) for parent in parents],
        "outputs": {identifier: output() for identifier in function.outputs},
    }
    return pb.NewComputeTask(**{**valid, **changes})


def output(permissions: pb.NewPermissions = PUBLIC, transient: bool = False) -> pb.NewComputeTaskOutput:
    return pb.NewComputeTaskOutput(permissions=permissions, transient=transient)


def tasks(*new: pb.NewComputeTask) -> pb.RegisterTasksParam:
    return pb.RegisterTasksParam(tasks=new)


def new_model(task: Any, **changes: Any) -> pb.NewModel:
    valid = {
        "key": new_key(),
        "compute_task_key": key_of(task),
        "compute_task_output_identifier": "model",
        "address": address(),
    }
    return pb.NewModel(**{**valid, **changes})


def models(*new: pb.NewModel) -> pb.RegisterModelsParam:
    return pb.RegisterModelsParam(models=new)


def new_performance(task: Any, **changes: Any) -> pb.NewPerformance:
    valid = {
        "compute_task_key": key_of(task),
        "compute_task_output_identifier": "score",
        "performance_value": 0.5,
    }
    return pb.NewPerformance(**{**valid, **changes})


def task_failure(task: Any, **changes: Any) -> pb.NewFailureReport:
    valid = {
        "asset_key": key_of(task),
        "error_type": pb.ERROR_TYPE_EXECUTION,
        "logs_address": address(),
        "asset_type": pb.FAILED_ASSET_COMPUTE_TASK,
    }
    return pb.NewFailureReport(**{**valid, **changes})


def function_failure(function: Any, **changes: Any) -> pb.NewFailureReport:
    return task_failure(
        function,
        **{"error_type": pb.ERROR_TYPE_BUILD, "asset_type": pb.FAILED_ASSET_FUNCTION, **changes},
    )


def profiling_step(task: Any, **changes: Any) -> pb.ProfilingStep:
    return pb.ProfilingStep(**{"asset_key": key_of(task), "step": "training", "duration": 1_000_000, **changes})
