"""Tasks: reading them, and the transitions that callers ask for."""

from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute import endings, models
from orchestrator.compute.assets import compute_plans
from orchestrator.core import states
from orchestrator.core.errors import (
    BadRequestError,
    CannotDisableOutputError,
    MissingOutputError,
    PermissionDeniedError,
)
from orchestrator.core.fields import parse_key
from orchestrator.engine import tasks, transitions
from orchestrator.engine.transaction import Transaction
from orchestrator.store.pages import Page


def get(transaction: Transaction, wanted: pb.GetTaskParam) -> pb.ComputeTask:
    """Return a task."""
    return tasks.get(transaction, parse_key(wanted.key))


def query(transaction: Transaction, wanted: pb.QueryTasksParam) -> pb.QueryTasksResponse:
    """List tasks: of a worker, in a state, of a compute plan, of a function, where asked."""
    for field in ("compute_plan_key", "function_key"):
        if key := getattr(wanted.filter, field):
            parse_key(key, f"filter.{field}")
    found, token = tasks.page(transaction, wanted.filter, Page(wanted.page_token, wanted.page_size))
    return pb.QueryTasksResponse(tasks=found, next_page_token=token)


def apply_action(transaction: Transaction, asked: pb.ApplyTaskActionParam) -> pb.ApplyTaskActionResponse:
    """Move a task to another state, as its worker or its owner may."""
    key = parse_key(asked.compute_task_key, "compute_task_key")
    reason = asked.log or f"asked by {transaction.organization}"
    match asked.action:
        case pb.TASK_ACTION_EXECUTING:
            _start(transaction, key, reason)
        case pb.TASK_ACTION_DONE:
            if not endings.complete(transaction, key, reason):
                endings.check_worker(transaction, tasks.get(transaction, key))
                raise endings.refusal(transaction, key, pb.STATUS_DONE)
        case pb.TASK_ACTION_CANCELED | pb.TASK_ACTION_FAILED:
            _stop(transaction, key, states.ACTION_STATUS[asked.action], reason)
        case pb.TASK_ACTION_BUILD_STARTED | pb.TASK_ACTION_BUILD_FINISHED:
            raise PermissionDeniedError("action: building is reported on the function, not on its tasks")
        case _:
            raise BadRequestError("action: unknown; EXECUTING, DONE, CANCELED or FAILED is expected")
    return pb.ApplyTaskActionResponse()


def _start(transaction: Transaction, key: UUID, reason: str) -> None:
    moved = transitions.start(transaction, key)
    if moved is None:
        endings.check_worker(transaction, tasks.get(transaction, key))
        raise endings.refusal(transaction, key, pb.STATUS_EXECUTING)
    transaction.events.updated(moved.task.key, moved.task, reason)


def _stop(transaction: Transaction, key: UUID, target: states.TaskStatus, reason: str) -> None:
    task = tasks.get(transaction, key)
    if transaction.organization not in (task.owner, task.worker):
        raise PermissionDeniedError(
            f"only its owner, {task.owner}, or its worker, {task.worker}, may end task {task.key}"
        )
    if not endings.stop(transaction, task, target, reason, by_anyone=True):
        raise endings.refusal(transaction, key, target)


def disable_output(transaction: Transaction, asked: pb.DisableOutputParam) -> pb.DisableOutputResponse:
    """Take away the models of a transient output that no task can need any more."""
    key = parse_key(asked.compute_task_key, "compute_task_key")
    # The plan's latch: no child is registered between the look at the children and the commit.
    plan = UUID(tasks.get(transaction, key).compute_plan_key)
    compute_plans.get_many(transaction, [plan], share=True)
    task, _ = tasks.get_for_update(transaction, key)
    endings.check_worker(transaction, task)
    if asked.identifier not in task.outputs:
        raise MissingOutputError(f"task {key} has no output {asked.identifier!r}")
    shown = f"output {asked.identifier!r} of task {key}"
    if task.status not in states.TERMINAL:
        raise CannotDisableOutputError(f"{shown}: the task has not ended")
    if not task.outputs[asked.identifier].transient:
        raise CannotDisableOutputError(f"{shown} is not transient")
    statuses = tasks.child_statuses(transaction, key)
    if not statuses or statuses - states.TERMINAL:
        raise CannotDisableOutputError(f"{shown}: it has no child, or one that has not ended")
    models.disable(transaction, key, asked.identifier)
    return pb.DisableOutputResponse()
