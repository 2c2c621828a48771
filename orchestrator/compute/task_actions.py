"""What callers may do with compute tasks: move them to another state, and take their transient outputs away."""

from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute import model_uses, models, tasks
from orchestrator.core import states
from orchestrator.core.errors import (
    BadRequestError,
    CannotDisableOutputError,
    MissingOutputError,
    PermissionDeniedError,
)
from orchestrator.core.fields import parse_key
from orchestrator.engine import completions, endings, plans, starts
from orchestrator.engine.tasks import check_worker, child_statuses
from orchestrator.engine.transaction import Transaction


def apply(transaction: Transaction, asked: pb.ApplyTaskActionParam) -> pb.ApplyTaskActionResponse:
    """Move a task to another state, as its worker or its owner may."""
    key = parse_key(asked.compute_task_key, "compute_task_key")
    reason = asked.log or f"asked by {transaction.organization}"
    match asked.action:
        case pb.TASK_ACTION_EXECUTING:
            _start(transaction, key, reason)
        case pb.TASK_ACTION_DONE:
            if not completions.complete_by_worker(transaction, key, reason):
                check_worker(transaction, tasks.get(transaction, key))
                raise endings.refusal(transaction, key, pb.STATUS_DONE)
        case pb.TASK_ACTION_CANCELED | pb.TASK_ACTION_FAILED:
            _stop(transaction, key, states.ACTION_STATUS[asked.action], reason)
        case pb.TASK_ACTION_BUILD_STARTED | pb.TASK_ACTION_BUILD_FINISHED:
            raise PermissionDeniedError("action: building is reported on the function, not on its tasks")
        case _:
            raise BadRequestError("action: unknown; EXECUTING, DONE, CANCELED or FAILED is expected")
    return pb.ApplyTaskActionResponse()


def _start(transaction: Transaction, key: UUID, reason: str) -> None:
    if starts.start(transaction, key, reason=reason) is None:
        check_worker(transaction, tasks.get(transaction, key))
        raise endings.refusal(transaction, key, pb.STATUS_EXECUTING)


def _stop(transaction: Transaction, key: UUID, target: states.TaskStatus, reason: str) -> None:
    task = tasks.row(transaction, key)
    if transaction.organization not in (task.owner, task.worker):
        raise PermissionDeniedError(
            f"only its owner, {task.owner}, or its worker, {task.worker}, may end task {task.key}"
        )
    if not endings.stop_by_owner(transaction, task, target, reason):
        raise endings.refusal(transaction, key, target)


def disable_output(transaction: Transaction, asked: pb.DisableOutputParam) -> pb.DisableOutputResponse:
    """Take away the models of a transient output that no task can need any more."""
    key = parse_key(asked.compute_task_key, "compute_task_key")
    # The plan's latch: no child is registered between the look at the children and the commit.
    plans.share(transaction, tasks.row(transaction, key).plan)
    task, _ = tasks.get_for_update(transaction, key)
    check_worker(transaction, task)
    if asked.identifier not in task.outputs:
        raise MissingOutputError(f"task {key} has no output {asked.identifier!r}")
    shown = f"output {asked.identifier!r} of task {key}"
    if task.status not in states.TERMINAL:
        raise CannotDisableOutputError(f"{shown}: the task has not ended")
    if not task.outputs[asked.identifier].transient:
        raise CannotDisableOutputError(f"{shown} is not transient")
    models.lock(transaction, key)
    statuses = child_statuses(transaction, key) | model_uses.statuses(transaction, key)
    if not statuses or statuses - states.TERMINAL:
        raise CannotDisableOutputError(f"{shown}: it has no child, or one that has not ended")
    models.disable(transaction, key, asked.identifier)
    return pb.DisableOutputResponse()
