"""How a task ends, with all that follows for its children and its plan.

There are four ways, one statement each: by the attempt that runs it, which shows its token; by the organization that
runs it, for clients without attempts; by its owner, or its worker, from any state; and by a sweep, when the lease of
its attempt ran out. Work of every kind ends in one of these.

How a task becomes Done stands in `engine.completions`.

A transition happens first, under its guard; what the caller reports with it is registered after, so that the same
report given twice at once meets the guard, not the results of the first. A task that is Done shares its plan's latch;
one that is stopped holds it alone.
"""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from sqlalchemy import TextClause

from orchestrator import protos as pb
from orchestrator.core import states
from orchestrator.core.errors import IncompatibleStatusError
from orchestrator.core.states import TaskStatus
from orchestrator.engine import kinds, outbox, plans, tasks, transitions
from orchestrator.engine.retries import FaultKind
from orchestrator.engine.tasks import COLUMNS, RETURNED, Task
from orchestrator.engine.transaction import Transaction
from orchestrator.store.statements import statement

Register = Callable[[Task], object]
"""Registers what a report brings for its task, before the events of the transition are told."""

# The state that it leaves guards the change and, for an attempt's own report, its token.
_END = """
    WITH latch AS (SELECT plan_key FROM tasks WHERE key = :key AND $SHARED IS NOT NULL),
         $EXPIRED
         ended AS (
             UPDATE task_states SET status = :target, token_hash = NULL, due_at = NULL, poked_at = NULL
             FROM tasks
             WHERE tasks.key = :key AND task_states.key = :key AND channel = :channel
               AND task_states.plan_key = (SELECT plan_key FROM latch) AND $GUARD
             RETURNING $RETURNED
         ),
         attempt AS (
             UPDATE attempts SET ended_at = :now, outcome = :target, fault = :fault, report_hash = :report_hash
             FROM ended
             WHERE task_key = ended.key AND number = ended.attempts AND ended_at IS NULL
             RETURNING CASE WHEN claim_id IS NOT NULL THEN number END AS ran
         ),
         decline AS (DELETE FROM declines USING ended WHERE task_key = ended.key)
    SELECT $COLUMNS, ran FROM ended LEFT JOIN attempt ON true
"""


def _ending(guard: str, expired: str = "") -> TextClause:
    return statement(
        _END, COLUMNS=COLUMNS, RETURNED=RETURNED, SHARED=plans.shared("plan_key"), GUARD=guard, EXPIRED=expired
    )


OF_ATTEMPT = "status = $DOING AND worker = :organization AND token_hash = CAST(:token_hash AS bytea)"
"""What guards `BY_ATTEMPT`."""

BY_ATTEMPT = _ending(OF_ATTEMPT)
"""By the attempt that runs a task, which shows its token."""

WITHOUT_ATTEMPT = "status = $DOING AND worker = :organization AND token_hash IS NULL"
"""What guards `BY_WORKER`."""

BY_WORKER = _ending(WITHOUT_ATTEMPT)
"""By the organization that runs a task, for clients without attempts."""

_BY_OWNER = _ending("status IN ($LIVE) AND :organization IN (owner, worker)")
_BY_SWEEP = _ending(
    "status = $DOING AND token_hash = CAST(:token_hash AS bytea) AND EXISTS (SELECT FROM expired)",
    transitions.EXPIRED,
)


def fail_by_attempt(
    transaction: Transaction,
    task: Task,
    reason: str,
    *,
    token_hash: bytes,
    fault: FaultKind,
    report_hash: bytes,
    register: Register,
) -> bool:
    """Make a task Failed that an attempt of the calling worker runs.

    Args:
        transaction: of the worker.
        task: as it was read, without a lock.
        reason: why, for the event.
        token_hash: SHA-256 of the attempt's token.
        fault: what ended the attempt.
        report_hash: SHA-256 of the report.
        register: registers why.

    Returns:
        Whether the attempt held the task; nothing is changed otherwise.
    """
    plans.hold(transaction, [task.plan])
    ended = end(
        transaction,
        BY_ATTEMPT,
        task.key,
        pb.STATUS_FAILED,
        token_hash=token_hash,
        fault=fault,
        report_hash=report_hash,
    )
    return _stopped(transaction, ended, reason, register)


def fail_by_worker(transaction: Transaction, task: Task, reason: str, *, fault: FaultKind, register: Register) -> bool:
    """Make a task Failed that the calling worker runs without an attempt; see `fail_by_attempt`."""
    plans.hold(transaction, [task.plan])
    ended = end(transaction, BY_WORKER, task.key, pb.STATUS_FAILED, fault=fault)
    return _stopped(transaction, ended, reason, register)


def stop_by_owner(transaction: Transaction, task: Task, target: TaskStatus, reason: str) -> bool:
    """Make a task Failed or Cancelled, whoever runs it, and tell its attempt to stop.

    Args:
        transaction: of its owner, or of its worker.
        task: as it was read, without a lock.
        target: Failed or Cancelled.
        reason: why, for the event.

    Returns:
        Whether it had not ended; nothing is changed otherwise.
    """
    plans.hold(transaction, [task.plan])
    # Before the statement that ends it: one that waits for a claim does not see the attempt that the claim began.
    tasks.get_for_update(transaction, task.key)
    ended = end(transaction, _BY_OWNER, task.key, target)
    if ended and ended.ran is not None:
        transaction.pokes.stop(ended.queue, ended.key, ended.ran)
    return _stopped(transaction, ended, reason, None)


def fail_by_sweep(
    transaction: Transaction,
    task: Task,
    reason: str,
    *,
    number: int,
    token_hash: bytes,
    expired: datetime,
    register: Register,
) -> bool:
    """Make a task Failed whose worker is lost, once too often.

    Args:
        transaction: of nobody; holds the plan's latch.
        task: as it was read, without a lock.
        reason: why, for the event.
        number: of its attempt.
        token_hash: SHA-256 of the attempt's token.
        expired: only if the attempt's lease ended before this moment.
        register: registers why.

    Returns:
        Whether it was ended; not while a report or a heartbeat of it is on its way.
    """
    ended = end(
        transaction,
        _BY_SWEEP,
        task.key,
        pb.STATUS_FAILED,
        number=number,
        token_hash=token_hash,
        fault=FaultKind.LOST,
        expired=expired,
    )
    return _stopped(transaction, ended, reason, register)


def _stopped(transaction: Transaction, ended: Task | None, reason: str, register: Register | None) -> bool:
    if ended is None:
        return False
    if register:
        register(ended)
    kinds.tell(transaction, ended, reason)
    outbox.drop_unsent(transaction.connection, [ended.key])
    kinds.of(ended.kind).ended(transaction, ended)
    return True


def end(
    transaction: Transaction,
    ending: TextClause,
    key: UUID,
    target: TaskStatus,
    *,
    fault: str | None = None,
    report_hash: bytes | None = None,
    **guard: object,
) -> Task | None:
    """End a task in one of the ways; return it, or None where the guard held it.

    Args:
        transaction: of whoever may.
        ending: which way.
        key: which task.
        target: the state that it ends in.
        fault: what ended its attempt, None without a fault.
        report_hash: SHA-256 of the report, None without one.
        guard: what else the way asks for.
    """
    ended = tasks.moved(
        transaction,
        ending,
        {
            "key": key,
            "channel": transaction.channel,
            "organization": transaction.organization,
            "target": target,
            "fault": fault,
            "report_hash": report_hash,
            "now": transaction.now,
            **guard,
        },
    )
    transaction.locked()
    return ended[0] if ended else None


def refusal(transaction: Transaction, key: UUID, target: TaskStatus) -> IncompatibleStatusError:
    """Return why the guard of a transition held, by the task as it is now."""
    task = tasks.get(transaction, key)
    try:
        states.check_task_transition(str(key), task.status, target)
    except IncompatibleStatusError as error:
        return error
    if target == pb.STATUS_EXECUTING:
        return IncompatibleStatusError(f"task {key} is tried again after a pause, which is not over")
    return IncompatibleStatusError(
        f"task {key} is run by an attempt that a worker has claimed; only the holder of its token may report on it"
    )
