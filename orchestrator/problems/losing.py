"""How running attempts are ended by the orchestrator: their module is gone, or they take too long."""

from collections.abc import Mapping
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.engine import endings, plans, retrying, tasks
from orchestrator.engine.retries import FaultKind
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import stages, taking_back

_CODES: Mapping[FaultKind, "pb.StageErrorCode.ValueType"] = {
    FaultKind.LOST: pb.STAGE_ERROR_LOST,
    FaultKind.TIMEOUT: pb.STAGE_ERROR_TIMEOUT,
}


def lose(transaction: Transaction, key: UUID, attempt: int, fault: FaultKind, message: str) -> bool:
    """End the attempt that runs a stage, and have its module told to stop; the stage waits again, or has failed.

    Args:
        transaction: of the organization of its deployment.
        key: of its task.
        attempt: its number.
        fault: LOST or TIMEOUT.
        message: why, for people.

    Returns:
        Whether the attempt still ran.
    """
    task = tasks.get(transaction, key)
    # Held before the task is locked, as whatever ends a task does.
    plans.hold(transaction, [task.plan])
    task, _ = tasks.get_for_update(transaction, key)
    if task.status != pb.STATUS_EXECUTING or task.attempts != attempt:
        return False
    if retrying.pause_after(transaction, task, fault) is not None:
        return taking_back.take_back(transaction, [key], message, fault) > 0
    error = pb.StageError(code=_CODES[fault], message=message)
    stages.finish(transaction, stages.of_task(task), pb.STAGE_ERROR, error)
    return endings.stop_by_owner(transaction, task, pb.STATUS_FAILED, message)


def lose_module(transaction: Transaction, deployment: str, kind: int, name: str, reason: str) -> int:
    """End all attempts of a module that is gone; return how many ran.

    Args:
        transaction: of the organization of its deployment.
        deployment: whose.
        kind: of the module.
        name: of the module.
        reason: what became of it, for people.
    """
    count = 0
    for key in taking_back.of_module(transaction, deployment, kind, name):
        task = tasks.get(transaction, key)
        message = f"attempt {task.attempts} was lost: {reason}"
        count += lose(transaction, key, task.attempts, FaultKind.LOST, message)
    return count
