"""How a task ends, with all that follows for its children and its compute plan.

A transition happens first, under its guard; what the caller reports with it is registered after, so that the same
report given twice at once meets the guard, not the results of the first.
"""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute import plans
from orchestrator.compute.assets import compute_plans
from orchestrator.core import states
from orchestrator.core.errors import IncompatibleStatusError, PermissionDeniedError
from orchestrator.engine import outbox, tasks, transitions
from orchestrator.engine.retries import FaultKind
from orchestrator.engine.transaction import Transaction

Register = Callable[[pb.ComputeTask], object]
"""Registers what a report brings for its task."""


def complete(
    transaction: Transaction,
    key: UUID,
    reason: str,
    *,
    token_hash: bytes | None = None,
    report_hash: bytes | None = None,
    register: Register | None = None,
) -> bool:
    """Make a task of the calling worker Done, and those of its children To do whose parents are all Done now.

    Args:
        transaction: of the worker.
        key: which task.
        reason: why, for the event.
        token_hash: SHA-256 of the token of the attempt that reports; None for a client without attempts.
        report_hash: SHA-256 of the report.
        register: called before the events of the transition.

    Returns:
        Whether the task was the caller's, Doing, and held by that attempt; nothing is changed otherwise.
    """
    moved = transitions.end(
        transaction,
        key,
        pb.STATUS_DONE,
        worker=transaction.organization,
        guarded=True,
        token_hash=token_hash,
        report_hash=report_hash,
    )
    if moved is None:
        return False
    children = transitions.release_children(transaction, key)
    if register:
        register(moved.task)
    transaction.events.updated(moved.task.key, moved.task, reason)
    for child in children:
        transaction.events.updated(child.task.key, child.task, f"its last parent {key} is Done")
        transaction.pokes.run(child.worker, child.key, child.attempts + 1)
    return True


def stop(
    transaction: Transaction,
    task: pb.ComputeTask,
    target: states.TaskStatus,
    reason: str,
    *,
    by_anyone: bool = False,
    token_hash: bytes | None = None,
    fault: FaultKind | None = None,
    report_hash: bytes | None = None,
    expired: datetime | None = None,
    register: Register | None = None,
) -> bool:
    """Make a task Failed or Cancelled; the first failure ends its compute plan.

    Args:
        transaction: of the caller, who may do this.
        task: as it was read, without a lock.
        target: Failed or Cancelled.
        reason: why, for the event.
        by_anyone: whether it is ended from any state, whoever runs it; else only by the attempt that runs it.
        token_hash: SHA-256 of the token of the attempt that reports; None for a client without attempts.
        fault: what ended it, where it is one.
        report_hash: SHA-256 of the report.
        expired: only if the attempt's lease ended before this moment.
        register: called before the events of the transition.

    Returns:
        Whether the guard let it pass; nothing is changed otherwise.
    """
    key = UUID(task.key)
    plan = compute_plans.get(transaction, UUID(task.compute_plan_key), lock=True)
    if by_anyone:
        # Before the statement that ends it: one that waits for a claim does not see the attempt that the claim began.
        tasks.get_for_update(transaction, key)
    moved = transitions.end(
        transaction,
        key,
        target,
        guarded=not by_anyone,
        token_hash=token_hash,
        fault=fault,
        report_hash=report_hash,
        expired=expired,
    )
    if moved is None:
        return False
    if register:
        register(moved.task)
    transaction.events.updated(task.key, moved.task, reason)
    outbox.drop_unsent(transaction.connection, [key])
    if by_anyone and moved.ran is not None:
        transaction.pokes.stop(moved.worker, key, moved.ran)
    if target == pb.STATUS_FAILED:
        plans.fail(transaction, plan)
    return True


def check_worker(transaction: Transaction, task: pb.ComputeTask) -> None:
    """Check that the caller is the worker of a task.

    Raises:
        PermissionDeniedError: another organization is.
    """
    if transaction.organization != task.worker:
        raise PermissionDeniedError(
            f"task {task.key} is run by {task.worker}, so {transaction.organization} may not report on it"
        )


def refusal(transaction: Transaction, key: UUID, target: states.TaskStatus) -> IncompatibleStatusError:
    """Return why the guard of a transition held, by the task as it is now."""
    task = tasks.get(transaction, key)
    try:
        states.check_task_transition(task.key, task.status, target)
    except IncompatibleStatusError as error:
        return error
    if target == pb.STATUS_EXECUTING:
        return IncompatibleStatusError(f"task {key} is tried again after a pause, which is not over")
    return IncompatibleStatusError(
        f"task {key} is run by an attempt that a worker has claimed; only the holder of its token may report on it"
    )
