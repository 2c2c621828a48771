"""The way back from Doing to To do: a task that is tried again, and one whose worker was lost."""

from datetime import datetime, timedelta
from uuid import UUID

from orchestrator.engine import attempts, endings, kinds, plans, tasks, transitions
from orchestrator.engine.kinds import Failure
from orchestrator.engine.retries import FaultKind
from orchestrator.engine.tasks import Task
from orchestrator.engine.transaction import Transaction


def pause_after(transaction: Transaction, task: Task, fault: FaultKind) -> timedelta | None:
    """Return how long a task waits before its next attempt, None when it is not to be tried again.

    Args:
        transaction: of its worker, or of a sweep.
        task: it is Doing.
        fault: what ends the attempt.
    """
    if plans.get(transaction, task.plan).ended_at is not None:
        return None
    overrides = kinds.of(task.kind).policies(transaction, task).overrides
    retry_policy = transaction.retry_policies.of(fault, *overrides)
    return retry_policy.pause(attempts.count_faults(transaction, task.key, fault) + 1)


def retry(
    transaction: Transaction,
    key: UUID,
    number: int,
    token_hash: bytes,
    *,
    pause: timedelta | None,
    fault: FaultKind | None,
    report_hash: bytes,
    reason: str,
) -> bool:
    """Make a task of the calling worker To do again.

    Args:
        transaction: of its worker.
        key: which task.
        number: of the attempt that ends.
        token_hash: SHA-256 of its token.
        pause: before it may be claimed; None pokes its queue at once.
        fault: what ended the attempt, None when it was released.
        report_hash: SHA-256 of the call that reports it.
        reason: for the event, more than the fault says.

    Returns:
        Whether the attempt held the task; nothing is changed otherwise.
    """
    again = transitions.retry_by_attempt(
        transaction,
        key,
        number,
        token_hash,
        due=None if pause is None else transaction.now + pause,
        fault=fault,
        report_hash=report_hash,
    )
    return _told(transaction, again, number, pause, fault, reason)


def expire(transaction: Transaction, key: UUID, number: int, token_hash: bytes, now: datetime) -> bool:
    """End an attempt whose lease ran out: its task is tried again, or Failed after too many lost workers.

    Args:
        transaction: of nobody, in the task's channel.
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
        again = transitions.retry_by_sweep(
            transaction, key, number, token_hash, due=transaction.now + pause, fault=FaultKind.LOST, expired=now
        )
        return _told(transaction, again, number, pause, FaultKind.LOST, "worker lost")
    if plans.take(transaction, task.plan) is None:
        return False
    return endings.fail_by_sweep(
        transaction,
        task,
        f"worker lost: attempt {number} was not heard of, like those before",
        number=number,
        token_hash=token_hash,
        expired=now,
        register=lambda ended: kinds.of(ended.kind).fail(transaction, ended, Failure(FaultKind.LOST, None)),
    )


def _told(
    transaction: Transaction,
    again: Task | None,
    number: int,
    pause: timedelta | None,
    fault: FaultKind | None,
    reason: str,
) -> bool:
    if again is None:
        return False
    what = f"attempt {number} ended ({fault})" if fault else f"attempt {number} was released"
    when = "" if pause is None else f"; the next may begin in {pause.total_seconds():.1f} s"
    kinds.tell(transaction, again, f"{what}{': ' if reason else ''}{reason}{when}")
    if pause is None:
        kinds.poke(transaction, again)
    kinds.of(again.kind).returned(transaction, again, fault)
    return True
