"""Profiling steps: how long the parts of a build or a task took; each is an event only."""

from google.protobuf.empty_pb2 import Empty

from orchestrator import protos as pb
from orchestrator.compute import validation
from orchestrator.compute.assets import functions
from orchestrator.compute.ownership import check_owner
from orchestrator.core.errors import InvalidAssetError
from orchestrator.core.fields import parse_key
from orchestrator.engine.transaction import Transaction


def register(transaction: Transaction, step: pb.ProfilingStep) -> Empty:
    """Tell how long a step of the building of a function of the caller took, in microseconds.

    Existing backends take the key of each such event for a function's, and stop for good at one that is not.

    Raises:
        InvalidAssetError: the channel has no function with this key.
        PermissionDeniedError: the function is another organization's.
    """
    validation.check_profiling_step(step)
    key = parse_key(step.asset_key, "asset_key")
    function = functions.get_many(transaction, [key]).get(str(key))
    if function is None:
        raise InvalidAssetError(
            f"asset_key: {key} is no function of this channel; steps of tasks come with their results"
        )
    check_owner(transaction, "function", function)
    transaction.events.created(function.key, step)
    return Empty()


def add(transaction: Transaction, task: pb.ComputeTask, step: pb.ProfilingStep) -> None:
    """Tell how long a step of a task of the caller took, in an event of our own.

    Raises:
        InvalidAssetError: the step is none, or of another task.
    """
    validation.check_profiling_step(step)
    if step.asset_key.lower() != task.key:
        raise InvalidAssetError(f"asset_key: {step.asset_key} is not the task of the attempt, {task.key}")
    transaction.events.profiled(task.key, step)
