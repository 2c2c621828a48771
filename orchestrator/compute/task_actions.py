"""What callers may do with compute tasks: move them to another state, and take their transient outputs away."""

from collections.abc import Mapping
from functools import partial
from typing import TypeVar
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
from orchestrator.engine.completions import Completion
from orchestrator.engine.starts import Claim
from orchestrator.engine.tasks import check_worker, child_statuses
from orchestrator.engine.together import Asked, sound
from orchestrator.engine.transaction import Transaction

Moved = TypeVar("Moved", Claim, Completion)


def apply(transaction: Transaction, asked: pb.ApplyTaskActionParam) -> pb.ApplyTaskActionResponse:
    """Move a task to another state, as its worker or its owner may."""
    key = parse_key(asked.compute_task_key, "compute_task_key")
    reason = _reason(transaction, asked)
    match asked.action:
        case pb.TASK_ACTION_EXECUTING:
            if starts.start(transaction, Claim(key, reason=reason)) is None:
                raise _refusal(transaction, key, pb.STATUS_EXECUTING)
        case pb.TASK_ACTION_DONE:
            if not completions.complete_by_worker(transaction, Completion(key, reason)):
                raise _refusal(transaction, key, pb.STATUS_DONE)
        case pb.TASK_ACTION_CANCELED | pb.TASK_ACTION_FAILED:
            _stop(transaction, key, states.ACTION_STATUS[asked.action], reason)
        case pb.TASK_ACTION_BUILD_STARTED | pb.TASK_ACTION_BUILD_FINISHED:
            raise PermissionDeniedError("action: building is reported on the function, not on its tasks")
        case _:
            raise BadRequestError("action: unknown; EXECUTING, DONE, CANCELED or FAILED is expected")
    return pb.ApplyTaskActionResponse()


def apply_together(asked: Asked[pb.ApplyTaskActionParam]) -> Mapping[int, pb.ApplyTaskActionResponse]:
    """Start tasks, and make tasks Done, that nobody else holds; return the answers by their places."""
    claims = sound(asked, partial(_asks, pb.TASK_ACTION_EXECUTING, Claim))
    started = starts.start_many(list(claims.values()), free=True)
    reports = sound(asked, partial(_asks, pb.TASK_ACTION_DONE, Completion))
    ended = completions.complete_many(list(reports.values()), free=True)
    done = [number for number, (_, claim) in claims.items() if claim.key in started]
    done += [number for number, (_, report) in reports.items() if report.key in ended]
    return dict.fromkeys(done, pb.ApplyTaskActionResponse())


def _asks(
    action: "pb.ComputeTaskAction.ValueType",
    make: type[Moved],
    transaction: Transaction,
    asked: pb.ApplyTaskActionParam,
) -> Moved | None:
    if asked.action != action:
        return None
    return make(parse_key(asked.compute_task_key, "compute_task_key"), reason=_reason(transaction, asked))


def _reason(transaction: Transaction, asked: pb.ApplyTaskActionParam) -> str:
    return asked.log or f"asked by {transaction.organization}"


def _refusal(transaction: Transaction, key: UUID, target: states.TaskStatus) -> Exception:
    task = tasks.get(transaction, key)
    check_worker(transaction, task)
    return endings.refusal(transaction, key, target)


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
