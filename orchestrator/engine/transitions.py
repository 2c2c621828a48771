"""The SQL of the transitions of tasks that do not end them; those that do stand in `engine.endings`.

Each transition is one compare-and-set on the task's row. The row of its plan is a latch (`engine.plans`): what may
change the graph or end the plan holds it alone, a Done shares it, so that a Done and the registration of a child always
see each other. Locks are taken in the order functions, plans, compute plans, tasks, attempts, and in the order of keys
within each.
"""

from datetime import datetime, timedelta
from string import Template
from uuid import UUID

from sqlalchemy import TextClause

from orchestrator import protos as pb
from orchestrator.core.pokes import RUN_TASK
from orchestrator.core.states import TaskStatus
from orchestrator.engine import kinds, tasks
from orchestrator.engine.tasks import COLUMNS, RETURNED, Task
from orchestrator.engine.transaction import EVENTS, POKES, Transaction
from orchestrator.store.statements import statement
from orchestrator.trace import events

# A poke that the relay holds is on its way, and is passed over. Who starts a task without a lease has workers that send
# no heartbeats: their silence, if nodes were heard before, says nothing any more (see `engine.queues`).
_START = statement(
    """
    WITH started AS (
             UPDATE tasks SET status = $DOING, attempts = attempts + 1, token_hash = :token_hash, due_at = NULL,
                              poked_at = NULL, pokes = 0
             WHERE key = :key AND channel = :channel AND worker = :organization AND status = $TO_DO
               AND kind = ANY(CAST(:doing_kinds AS text[]))
               AND (:attempt = 0 OR attempts + 1 = :attempt) AND (due_at IS NULL OR due_at <= :now)
             RETURNING $COLUMNS
         ),
         $CALL,
         attempt AS (
             INSERT INTO attempts (task_key, number, node, claim_id, token_hash, claimed_at, lease_until)
             SELECT key, attempts, CAST(:node AS text), CAST(:claim_id AS text), CAST(:token_hash AS bytea),
                    (SELECT now FROM call), (SELECT now FROM call) + CAST(:lease AS interval)
             FROM started
         ),
         decline AS (DELETE FROM declines USING started WHERE task_key = started.key),
         poke AS (
             UPDATE outbox SET claimed_at = :now
             WHERE id IN (SELECT id FROM outbox JOIN started ON outbox.key = started.key
                          WHERE outbox.message = '$RUN_TASK' AND attempt = started.attempts AND claimed_at IS NULL
                          FOR UPDATE OF outbox SKIP LOCKED)
         ),
         unheard AS (
             DELETE FROM queues USING started
             WHERE CAST(:lease AS interval) IS NULL AND name = started.queue
               AND heard_at < CAST(:now AS timestamptz) - CAST(:silence AS interval)
         ),
         moved AS (
             SELECT CAST(0 AS bigint) AS ordinal, asset_kind, key, message || doing.state AS asset,
                    coalesce(:reason, format('attempt %s claimed by %s', attempts, CAST(:claimed_by AS text))) AS reason
             FROM started JOIN $STATES USING (kind)
         ),
         event AS ($MOVED)
    SELECT $COLUMNS FROM started
    """,
    COLUMNS=COLUMNS,
    RUN_TASK=RUN_TASK,
    CALL=events.call("started"),
    STATES=kinds.states("doing"),
    MOVED=events.MOVED,
)


def start(
    transaction: Transaction,
    key: UUID,
    *,
    reason: str | None = None,
    attempt: int = 0,
    node: str | None = None,
    claim_id: str | None = None,
    token_hash: bytes | None = None,
    lease: timedelta | None = None,
) -> Task | None:
    """Move a task of the calling worker from To do to Doing, begin its next attempt, and tell of it.

    It is all that a transaction changes; see `Transaction.alone`.

    Args:
        transaction: of the worker.
        key: which task.
        reason: why, for the event; None says who has claimed it.
        attempt: the number that the next attempt must have; 0 for any.
        node: who runs it.
        claim_id: names the claim, so that it can be repeated.
        token_hash: SHA-256 of the attempt's token; None for a client without attempts.
        lease: how long it is believed to live without a heartbeat.

    Returns:
        The task, or None where it is not To do, not the caller's, or due for another attempt.
    """
    rows = transaction.alone(
        _START,
        {
            **kinds.state_parameters("doing", pb.STATUS_EXECUTING),
            **events.moved_parameters(transaction.now),
            "reason": reason,
            "claimed_by": node or transaction.organization,
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
    started = tasks.of_rows(rows)
    if started:
        transaction.tells(EVENTS, POKES)
    return started[0] if started else None


_RETRY = """
    WITH $EXPIRED again AS (
             UPDATE tasks SET status = $TO_DO, token_hash = NULL, due_at = :due, pokes = 0,
                              poked_at = CASE WHEN CAST(:due AS timestamptz) IS NULL THEN CAST(:now AS timestamptz) END
             WHERE key = :key AND channel = :channel AND status = $DOING AND attempts = :number
               AND token_hash = CAST(:token_hash AS bytea) AND $GUARD
             RETURNING $COLUMNS
         ),
         attempt AS (
             UPDATE attempts SET ended_at = :now, outcome = $TO_DO, fault = :fault, report_hash = :report_hash
             FROM again WHERE task_key = again.key AND number = again.attempts AND ended_at IS NULL
         )
    SELECT $COLUMNS FROM again
"""
EXPIRED = """
         held AS (
             SELECT key FROM tasks WHERE key = :key AND status = $DOING AND attempts = :number
             FOR NO KEY UPDATE SKIP LOCKED
         ),
         expired AS (
             SELECT task_key FROM attempts JOIN held ON task_key = held.key
             WHERE number = :number AND ended_at IS NULL AND lease_until < CAST(:expired AS timestamptz)
             FOR NO KEY UPDATE OF attempts SKIP LOCKED
         ),
"""
"""Of a sweep: the attempt, if its lease has ended. It locks the task before the attempt, as a report does, and passes
over what others hold: a report, or a heartbeat, is on its way."""

_RETRY_BY_ATTEMPT = statement(_RETRY, COLUMNS=COLUMNS, EXPIRED="", GUARD="worker = :organization")
_RETRY_BY_SWEEP = statement(_RETRY, COLUMNS=COLUMNS, EXPIRED=EXPIRED, GUARD="EXISTS (SELECT FROM expired)")


def retry_by_attempt(
    transaction: Transaction,
    key: UUID,
    number: int,
    token_hash: bytes,
    *,
    due: datetime | None,
    fault: str | None,
    report_hash: bytes,
) -> Task | None:
    """Move a task of the calling worker from Doing back to To do, and end the attempt that ran it.

    Args:
        transaction: of its worker.
        key: which task.
        number: of the attempt.
        token_hash: SHA-256 of its token.
        due: when it may be claimed again; None for at once.
        fault: what ended the attempt, None when it was released.
        report_hash: SHA-256 of the call that reports it.

    Returns:
        The task, or None where the guard held it: nothing was changed.
    """
    return _retried(
        transaction,
        _RETRY_BY_ATTEMPT,
        key,
        number,
        token_hash,
        due=due,
        fault=fault,
        report_hash=report_hash,
        organization=transaction.organization,
    )


def retry_by_sweep(
    transaction: Transaction, key: UUID, number: int, token_hash: bytes, *, due: datetime, fault: str, expired: datetime
) -> Task | None:
    """Move a task whose worker is lost from Doing back to To do, and end the attempt that ran it.

    Args:
        transaction: of nobody.
        key: which task.
        number: of the attempt.
        token_hash: SHA-256 of its token.
        due: when it may be claimed again.
        fault: what ended the attempt.
        expired: only if its lease ended before this moment.

    Returns:
        The task, or None where the guard held it: nothing was changed.
    """
    return _retried(
        transaction,
        _RETRY_BY_SWEEP,
        key,
        number,
        token_hash,
        due=due,
        fault=fault,
        report_hash=None,
        expired=expired,
    )


def _retried(
    transaction: Transaction, retry: TextClause, key: UUID, number: int, token_hash: bytes, **parameters: object
) -> Task | None:
    again = tasks.moved(
        transaction,
        retry,
        {
            "key": key,
            "number": number,
            "channel": transaction.channel,
            "token_hash": token_hash,
            "now": transaction.now,
            **parameters,
        },
    )
    transaction.locked()
    return again[0] if again else None


def counted(children: str) -> str:
    """Return what stands in a statement that makes a task Done: its children, `counted`, and of these the `ready` ones.

    Args:
        children: selects their keys.
    """
    return Template("""
         child AS (
             SELECT key FROM tasks WHERE key IN ($CHILDREN)
             ORDER BY key FOR NO KEY UPDATE
         ),
         counted AS (
             UPDATE tasks
             SET pending_parents = pending_parents - 1,
                 status = CASE WHEN status = $$WAITING AND pending_parents = 1 THEN $$TO_DO ELSE status END,
                 poked_at = CASE WHEN status = $$WAITING AND pending_parents = 1 THEN CAST(:now AS timestamptz) END
             FROM child WHERE tasks.key = child.key
             RETURNING $RETURNED, rank, pending_parents
         ),
         ready AS (SELECT * FROM counted WHERE status = $$TO_DO AND pending_parents = 0)
""").substitute(RETURNED=RETURNED, CHILDREN=children)


_RELEASE = statement(
    "WITH $COUNTED SELECT $COLUMNS FROM ready ORDER BY rank, key",
    COLUMNS=COLUMNS,
    COUNTED=counted("SELECT child FROM edges WHERE parent = :key"),
)


def release_children(transaction: Transaction, parent: UUID) -> list[Task]:
    """Tell a task's children that it is Done; return those that are To do now."""
    return tasks.moved(transaction, _RELEASE, {"key": parent, "now": transaction.now})


_WAITING_FOR = statement("SELECT DISTINCT plan_key FROM tasks WHERE requires = :requirement AND status = $BUILDING")


def plans_building(transaction: Transaction, requirement: UUID) -> list[UUID]:
    """Return the plans whose tasks are Building because of what they require."""
    return list(transaction.connection.execute(_WAITING_FOR, {"requirement": requirement}).scalars())


_FOLLOW = statement(
    """
    WITH chosen AS (
             SELECT key FROM tasks WHERE requires = :requirement AND status = :source
             ORDER BY key FOR NO KEY UPDATE
         ),
         moved AS (
             UPDATE tasks
             SET status = CASE WHEN :target = $TO_DO AND pending_parents > 0 THEN $WAITING ELSE :target END,
                 poked_at = CASE WHEN :target = $TO_DO AND pending_parents = 0 THEN CAST(:now AS timestamptz) END
             FROM chosen WHERE tasks.key = chosen.key
             RETURNING $RETURNED, rank
         )
    SELECT $COLUMNS FROM moved ORDER BY rank, key
    """,
    COLUMNS=COLUMNS,
    RETURNED=RETURNED,
)


def follow(transaction: Transaction, requirement: UUID, source: TaskStatus, target: TaskStatus) -> list[Task]:
    """Move the tasks that require something, which the transaction has locked, after it changed; return them.

    Args:
        transaction: of its owner.
        requirement: what they require: a function.
        source: the state of the tasks to move.
        target: where to; To do means Waiting for those whose parents are not all Done.
    """
    parameters = {"requirement": requirement, "source": source, "target": target, "now": transaction.now}
    found = tasks.moved(transaction, _FOLLOW, parameters)
    transaction.locked()
    return found
