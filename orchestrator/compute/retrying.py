"""The way back from Doing to To do: a task that is tried again, and one whose worker was lost."""

from datetime import datetime, timedelta
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute import endings, failure_reports
from orchestrator.compute.assets import compute_plans
from orchestrator.compute.plans import is_terminated
from orchestrator.engine import attempts, tasks, transitions
from orchestrator.engine import plans as latch
from orchestrator.engine.retries import FaultKind
from orchestrator.engine.transaction import Transaction


def pause_after(transaction: Transaction, task: pb.ComputeTask, kind: FaultKind) -> timedelta | None:
    """Return how long a task waits before its next attempt, None when it is not to be tried again.

    Args:
        transaction: of its worker, or of a sweep.
        task: it is Doing.
        kind: of the fault that ends the attempt.
    """
    plan = compute_plans.get(transaction, UUID(task.compute_plan_key))
    if is_terminated(plan):
        return None
    retry_policy = transaction.retry_policies.of(kind, task.metadata, plan.metadata)
    return retry_policy.pause(attempts.count_faults(transaction, UUID(task.key), kind) + 1)


def retry(
    transaction: Transaction,
    key: UUID,
    number: int,
    token_hash: bytes,
    pause: timedelta | None,
    kind: FaultKind | None,
    *,
    report_hash: bytes | None = None,
    expired: datetime | None = None,
    reason: str = "",
) -> bool:
    """Make a task To do again.

    Args:
        transaction: of its worker, or of a sweep.
        key: which task.
        number: of the attempt that ends.
        token_hash: SHA-256 of its token.
        pause: before it may be claimed; None pokes its worker at once.
        kind: of the fault, None when the attempt was released.
        report_hash: SHA-256 of the call that reports it.
        expired: only if the lease ended before this moment.
        reason: for the event, more than the kind says.

    Returns:
        Whether the attempt held the task; nothing is changed otherwise.
    """
    due = None if pause is None else transaction.now + pause
    moved = transitions.retry(
        transaction, key, number, token_hash, due=due, fault=kind, report_hash=report_hash, expired=expired
    )
    if moved is None:
        return False
    what = f"attempt {number} ended ({kind})" if kind else f"attempt {number} was released"
    when = "" if pause is None else f"; the next may begin in {pause.total_seconds():.1f} s"
    transaction.events.updated(moved.task.key, moved.task, f"{what}{': ' if reason else ''}{reason}{when}")
    if pause is None:
        transaction.pokes.run(moved.worker, key, number + 1)
    return True


def expire(transaction: Transaction, key: UUID, number: int, token_hash: bytes, now: datetime) -> bool:
    """End an attempt whose lease ran out: its task is tried again, or Failed after too many lost workers.

    Args:
        transaction: of a sweep, in the task's channel.
        key: which task.
        number: of the attempt.
        token_hash: SHA-256 of its token.
        now: leases that ended before are over.

    Returns:
        Whether it was ended; not while a report or a heartbeat of it is on its way.
    """
    task = tasks.get(transaction, key)
    pause = pause_after(transaction, task, FaultKind.LOST)
    if pause is not None:
        return retry(transaction, key, number, token_hash, pause, FaultKind.LOST, expired=now, reason="worker lost")
    if not latch.take_plan(transaction.connection, UUID(task.compute_plan_key)):
        return False
    transaction.organization = task.worker
    report = pb.NewFailureReport(
        asset_key=task.key, error_type=pb.ERROR_TYPE_INTERNAL, asset_type=pb.FAILED_ASSET_COMPUTE_TASK
    )
    return endings.stop(
        transaction,
        task,
        pb.STATUS_FAILED,
        f"worker lost: attempt {number} was not heard of, like those before",
        token_hash=token_hash,
        fault=FaultKind.LOST,
        expired=now,
        register=lambda _: failure_reports.add(transaction, report),
    )
