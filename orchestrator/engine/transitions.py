"""The SQL of every transition of a task.

Each transition is one compare-and-set on the task's row. The row of its compute plan is a latch: what may change the
graph or end the plan (registration, failure, cancellation) holds it alone, a Done shares it, so that a Done and the
registration of a child always see each other. Locks are taken in the order functions, compute plans, tasks, and in
the order of keys within each. The numbers of states in the statements are the contract's ComputeTaskStatus.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, TextClause, text

from orchestrator import protos as pb
from orchestrator.core import states
from orchestrator.core.states import TaskStatus
from orchestrator.engine.tasks import to_message
from orchestrator.engine.transaction import Transaction


@dataclass(frozen=True)
class Moved:
    """A task after a transition.

    Args:
        key: which one.
        worker: the organization that runs it.
        attempts: how many attempts have begun.
        task: its message, with the new status.
        ran: the number of the claimed attempt that the transition ended, None without one.
    """

    key: UUID
    worker: str
    attempts: int
    task: pb.ComputeTask
    ran: int | None = None


def _moved(rows: Iterable[Row[Any]]) -> list[Moved]:
    return [
        Moved(row.key, row.worker, row.attempts, to_message(row.message, row.status), getattr(row, "ran", None))
        for row in rows
    ]


def _locked(transaction: Transaction, statement: TextClause, parameters: Mapping[str, Any]) -> list[Moved]:
    moved = _moved(transaction.connection.execute(statement, parameters))
    transaction.locked()
    return moved


# The state that it leaves guards the change and, for an attempt's own report, its token. A sweep locks the task before
# the attempt, as a report does, and passes over what others hold: a report, or a heartbeat, is on its way.
_END = text("""
    WITH latch AS (
             SELECT key FROM compute_plans WHERE key = (SELECT plan_key FROM tasks WHERE key = :key) FOR SHARE
         ),
         held AS (
             SELECT key FROM tasks
             WHERE key = :key AND status = 3 AND plan_key = (SELECT key FROM latch)
             FOR NO KEY UPDATE SKIP LOCKED
         ),
         expired AS (
             SELECT task_key FROM attempts JOIN held ON task_key = held.key
             WHERE ended_at IS NULL AND lease_until < CAST(:expired AS timestamptz)
             FOR NO KEY UPDATE OF attempts SKIP LOCKED
         ),
         ended AS (
             UPDATE tasks SET status = :target, token_hash = NULL, due_at = NULL, poked_at = NULL
             WHERE key = :key AND channel = :channel AND plan_key = (SELECT key FROM latch)
               AND status = ANY(CAST(:sources AS smallint[]))
               AND (CAST(:worker AS text) IS NULL OR worker = :worker)
               AND (CAST(:expired AS timestamptz) IS NULL OR EXISTS (SELECT FROM expired))
               AND (NOT :guarded OR token_hash IS NOT DISTINCT FROM CAST(:token_hash AS bytea))
             RETURNING key, worker, attempts, status, message
         ),
         attempt AS (
             UPDATE attempts SET ended_at = :now, outcome = :target, fault = :fault, report_hash = :report_hash
             FROM ended
             WHERE task_key = ended.key AND number = ended.attempts AND ended_at IS NULL
             RETURNING CASE WHEN claim_id IS NOT NULL THEN number END AS ran
         ),
         decline AS (DELETE FROM declines USING ended WHERE task_key = ended.key)
    SELECT key, worker, attempts, status, message, ran FROM ended LEFT JOIN attempt ON true
""")


def end(
    transaction: Transaction,
    key: UUID,
    target: TaskStatus,
    *,
    guarded: bool,
    worker: str | None = None,
    token_hash: bytes | None = None,
    fault: str | None = None,
    report_hash: bytes | None = None,
    expired: datetime | None = None,
) -> Moved | None:
    """Move a task, and the attempt that runs it, to a terminal state.

    Args:
        transaction: of the caller; holds the plan's latch alone when the target is Failed or Cancelled.
        key: which task.
        target: Done, Failed or Cancelled.
        worker: only if this organization runs it.
        guarded: only if its attempt bears `token_hash` (None: it was started without one).
        token_hash: SHA-256 of the attempt's token.
        fault: what ended it, where it is one.
        report_hash: SHA-256 of the call that reports it.
        expired: only if the attempt's lease ended before this moment.

    Returns:
        The task, or None where the guard held it: nothing was changed.
    """
    moved = _locked(
        transaction,
        _END,
        {
            "key": key,
            "channel": transaction.channel,
            "target": target,
            "sources": states.sources(target),
            "guarded": guarded,
            "worker": worker,
            "token_hash": token_hash,
            "fault": fault,
            "report_hash": report_hash,
            "expired": expired,
            "now": transaction.now,
        },
    )
    return moved[0] if moved else None


_RETRY = text("""
    WITH held AS (
             SELECT key FROM tasks WHERE key = :key AND status = 3 AND attempts = :number
             FOR NO KEY UPDATE SKIP LOCKED
         ),
         expired AS (
             SELECT task_key FROM attempts JOIN held ON task_key = held.key
             WHERE number = :number AND ended_at IS NULL AND lease_until < CAST(:expired AS timestamptz)
             FOR NO KEY UPDATE OF attempts SKIP LOCKED
         ),
         again AS (
             UPDATE tasks SET status = 2, token_hash = NULL, due_at = :due, pokes = 0,
                              poked_at = CASE WHEN CAST(:due AS timestamptz) IS NULL THEN CAST(:now AS timestamptz) END
             WHERE key = :key AND channel = :channel AND status = 3 AND attempts = :number
               AND token_hash = CAST(:token_hash AS bytea)
               AND (CAST(:expired AS timestamptz) IS NULL OR EXISTS (SELECT FROM expired))
             RETURNING key, worker, attempts, status, message
         ),
         attempt AS (
             UPDATE attempts SET ended_at = :now, outcome = 2, fault = :fault, report_hash = :report_hash
             FROM again WHERE task_key = again.key AND number = again.attempts AND ended_at IS NULL
         )
    SELECT key, worker, attempts, status, message FROM again
""")


def retry(
    transaction: Transaction,
    key: UUID,
    number: int,
    token_hash: bytes,
    *,
    due: datetime | None,
    fault: str | None,
    report_hash: bytes | None = None,
    expired: datetime | None = None,
) -> Moved | None:
    """Move a task from Doing back to To do, and end the attempt that ran it.

    Args:
        transaction: of its worker, or of a sweep.
        key: which task.
        number: of the attempt.
        token_hash: SHA-256 of its token.
        due: when it may be claimed again; None for at once.
        fault: what ended the attempt, None when it was released.
        report_hash: SHA-256 of the call that reports it.
        expired: only if the lease ended before this moment.

    Returns:
        The task, or None where the guard held it: nothing was changed.
    """
    moved = _locked(
        transaction,
        _RETRY,
        {
            "key": key,
            "number": number,
            "channel": transaction.channel,
            "token_hash": token_hash,
            "due": due,
            "fault": fault,
            "report_hash": report_hash,
            "expired": expired,
            "now": transaction.now,
        },
    )
    return moved[0] if moved else None


# Who starts a task without a lease has workers that send no heartbeats: their silence, if nodes were heard before, says
# nothing any more (see `engine.queues`).
_START = text("""
    WITH started AS (
             UPDATE tasks SET status = 3, attempts = attempts + 1, token_hash = :token_hash, due_at = NULL,
                              poked_at = NULL, pokes = 0
             WHERE key = :key AND channel = :channel AND worker = :organization AND status = 2
               AND (:attempt = 0 OR attempts + 1 = :attempt) AND (due_at IS NULL OR due_at <= :now)
             RETURNING key, worker, attempts, status, message
         ),
         attempt AS (
             INSERT INTO attempts (task_key, number, node, claim_id, token_hash, claimed_at, lease_until)
             SELECT key, attempts, CAST(:node AS text), CAST(:claim_id AS text), CAST(:token_hash AS bytea), :now,
                    :now + CAST(:lease AS interval)
             FROM started
         ),
         decline AS (DELETE FROM declines USING started WHERE task_key = started.key),
         unheard AS (
             DELETE FROM queues USING started
             WHERE CAST(:lease AS interval) IS NULL AND organization = started.worker
               AND heard_at < CAST(:now AS timestamptz) - CAST(:silence AS interval)
         )
    SELECT key, worker, attempts, status, message FROM started
""")


def start(
    transaction: Transaction,
    key: UUID,
    *,
    attempt: int = 0,
    node: str | None = None,
    claim_id: str | None = None,
    token_hash: bytes | None = None,
    lease: timedelta | None = None,
) -> Moved | None:
    """Move a task of the calling worker from To do to Doing, and begin its next attempt.

    Args:
        transaction: of the worker.
        key: which task.
        attempt: the number that the next attempt must have; 0 for any.
        node: who runs it.
        claim_id: names the claim, so that it can be repeated.
        token_hash: SHA-256 of the attempt's token; None for a client without attempts.
        lease: how long it is believed to live without a heartbeat.

    Returns:
        The task, or None where it is not To do, not the caller's, or due for another attempt.
    """
    moved = _locked(
        transaction,
        _START,
        {
            "key": key,
            "channel": transaction.channel,
            "organization": transaction.organization,
            "attempt": attempt,
            "node": node,
            "claim_id": claim_id,
            "token_hash": token_hash,
            "now": transaction.now,
            "lease": lease,
            "silence": transaction.rules.silence,
        },
    )
    return moved[0] if moved else None


_RELEASE = text("""
    WITH child AS (
             SELECT key FROM tasks WHERE key IN (SELECT child FROM edges WHERE parent = :parent)
             ORDER BY key FOR NO KEY UPDATE
         ),
         counted AS (
             UPDATE tasks
             SET pending_parents = pending_parents - 1,
                 status = CASE WHEN status = 1 AND pending_parents = 1 THEN 2 ELSE status END,
                 poked_at = CASE WHEN status = 1 AND pending_parents = 1 THEN CAST(:now AS timestamptz) END
             FROM child WHERE tasks.key = child.key
             RETURNING tasks.key, worker, rank, attempts, status, pending_parents, message
         )
    SELECT key, worker, attempts, status, message FROM counted
    WHERE status = 2 AND pending_parents = 0 ORDER BY rank, key
""")


def release_children(transaction: Transaction, parent: UUID) -> list[Moved]:
    """Tell a task's children that it is Done; return those that are To do now."""
    return _moved(transaction.connection.execute(_RELEASE, {"parent": parent, "now": transaction.now}))


_LOCK_PLAN = text("""
    SELECT FROM tasks WHERE plan_key = :plan AND status IN (1, 2, 3, 7, 8) ORDER BY key FOR NO KEY UPDATE
""")
_CANCEL_PLAN = text("""
    WITH ended AS (
             UPDATE tasks SET status = 5, token_hash = NULL, due_at = NULL, poked_at = NULL
             WHERE plan_key = :plan AND status IN (1, 2, 3, 7, 8)
             RETURNING tasks.key, worker, rank, attempts, status, message
         ),
         alive AS (
             SELECT task_key, number FROM attempts JOIN ended ON task_key = ended.key AND number = ended.attempts
             WHERE ended_at IS NULL ORDER BY task_key FOR NO KEY UPDATE OF attempts
         ),
         attempt AS (
             UPDATE attempts SET ended_at = :now, outcome = 5
             FROM alive WHERE attempts.task_key = alive.task_key AND attempts.number = alive.number
             RETURNING attempts.task_key, CASE WHEN claim_id IS NOT NULL THEN attempts.number END AS ran
         ),
         decline AS (DELETE FROM declines USING ended WHERE declines.task_key = ended.key)
    SELECT key, worker, attempts, status, message, ran FROM ended LEFT JOIN attempt ON task_key = key
    ORDER BY rank, key
""")


def cancel_plan(transaction: Transaction, plan: UUID) -> list[Moved]:
    """Cancel the tasks of a compute plan, whose latch the transaction holds alone, that have not ended; return them."""
    # The locks come first: a statement that waits for a claim does not see the attempt that the claim began.
    transaction.connection.execute(_LOCK_PLAN, {"plan": plan})
    return _moved(transaction.connection.execute(_CANCEL_PLAN, {"plan": plan, "now": transaction.now}))


_CANCEL_STUCK = text("""
    WITH RECURSIVE stuck (key) AS (
             SELECT key FROM tasks
             WHERE plan_key = :plan
               AND ((:ended AND status IN (1, 2, 7, 8))
                    OR (status IN (1, 7, 8)
                        AND EXISTS (SELECT FROM edges JOIN tasks AS parents ON parents.key = parent
                                    WHERE child = tasks.key AND parents.status IN (5, 6))))
             UNION
             SELECT tasks.key FROM stuck JOIN edges ON parent = stuck.key JOIN tasks ON tasks.key = child
             WHERE plan_key = :plan AND status IN (1, 7, 8)
         ),
         live AS (
             SELECT key FROM tasks WHERE key IN (SELECT key FROM stuck) AND status IN (1, 2, 7, 8)
             ORDER BY key FOR NO KEY UPDATE
         ),
         ended AS (
             UPDATE tasks SET status = 5, due_at = NULL, poked_at = NULL
             FROM live WHERE tasks.key = live.key
             RETURNING tasks.key, worker, rank, attempts, status, message
         ),
         decline AS (DELETE FROM declines USING ended WHERE task_key = ended.key)
    SELECT key, worker, attempts, status, message FROM ended ORDER BY rank, key
""")


def cancel_stuck(transaction: Transaction, plan: UUID, ended: bool) -> list[Moved]:
    """Cancel the tasks of a compute plan that can never run, and those below them; return them.

    Args:
        transaction: holds the plan's latch alone.
        plan: which one.
        ended: whether it was cancelled or has failed; then tasks To do are cancelled too.
    """
    return _moved(transaction.connection.execute(_CANCEL_STUCK, {"plan": plan, "ended": ended}))


_PLANS_OF_FUNCTION = text("SELECT DISTINCT plan_key FROM tasks WHERE function_key = :function AND status = 8")


def plans_building(transaction: Transaction, function: UUID) -> list[UUID]:
    """Return the compute plans whose tasks are Building because of a function."""
    return list(transaction.connection.execute(_PLANS_OF_FUNCTION, {"function": function}).scalars())


_FOLLOW_FUNCTION = text("""
    WITH chosen AS (
             SELECT key FROM tasks WHERE function_key = :function AND status = :source
             ORDER BY key FOR NO KEY UPDATE
         ),
         moved AS (
             UPDATE tasks
             SET status = CASE WHEN :target = 2 AND pending_parents > 0 THEN 1 ELSE :target END,
                 poked_at = CASE WHEN :target = 2 AND pending_parents = 0 THEN CAST(:now AS timestamptz) END
             FROM chosen WHERE tasks.key = chosen.key
             RETURNING tasks.key, worker, rank, attempts, status, message
         )
    SELECT key, worker, attempts, status, message FROM moved ORDER BY rank, key
""")


def follow_function(transaction: Transaction, function: UUID, source: TaskStatus, target: TaskStatus) -> list[Moved]:
    """Move the tasks of a function, which the transaction has locked, after it changed; return them.

    Args:
        transaction: of the owner.
        function: which function.
        source: the state of the tasks to move.
        target: where to; To do means Waiting for those whose parents are not all Done.
    """
    parameters = {"function": function, "source": source, "target": target, "now": transaction.now}
    return _locked(transaction, _FOLLOW_FUNCTION, parameters)
