"""How a task starts: one statement, which begins its next attempt and tells of it."""

from datetime import timedelta
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.core.pokes import RUN_TASK
from orchestrator.engine import kinds, tasks
from orchestrator.engine.tasks import COLUMNS, RETURNED, Task
from orchestrator.engine.transaction import EVENTS, POKES, Transaction
from orchestrator.store.statements import statement
from orchestrator.trace import events

# A poke that the relay holds is on its way, and keeps its traceparent. Who starts a task without a lease has workers
# that send no heartbeats: their silence, if nodes were heard before, says nothing any more (see `engine.queues`).
_START = statement(
    """
    WITH started AS (
             UPDATE task_states
             SET status = $DOING, attempts = attempts + 1, token_hash = :token_hash, due_at = NULL, poked_at = NULL,
                 pokes = 0
             FROM tasks
             WHERE tasks.key = :key AND task_states.key = :key AND channel = :channel AND worker = :organization
               AND kind = ANY(CAST(:startable AS text[])) AND status = $TO_DO
               AND (:attempt = 0 OR attempts + 1 = :attempt) AND (due_at IS NULL OR due_at <= :now)
             RETURNING $RETURNED
         ),
         $CALL,
         attempt AS (
             INSERT INTO attempts (task_key, number, node, claim_id, token_hash, claimed_at, lease_until)
             SELECT key, attempts, CAST(:node AS text), CAST(:claim_id AS text), CAST(:token_hash AS bytea),
                    (SELECT now FROM call), (SELECT now FROM call) + CAST(:lease AS interval)
             FROM started
         ),
         unsettled_attempt AS (INSERT INTO unsettled (task_key, number) SELECT key, attempts FROM started),
         decline AS (DELETE FROM declines USING started WHERE task_key = started.key),
         poke AS (
             SELECT id, created_at FROM outbox JOIN started ON outbox.key = started.key
             WHERE outbox.message = '$RUN_TASK' AND attempt = started.attempts
         ),
         traced AS (
             UPDATE outbox SET traceparent = CAST(:traceparent AS text)
             WHERE id IN (SELECT id FROM outbox
                          WHERE CAST(:traceparent AS text) IS NOT NULL AND id IN (SELECT id FROM poke)
                          FOR UPDATE SKIP LOCKED)
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
         $MOVED
    SELECT $COLUMNS, (SELECT extract(epoch FROM CAST(:now AS timestamptz) - min(created_at)) FROM poke) FROM started
    """,
    COLUMNS=COLUMNS,
    RETURNED=RETURNED,
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
    admitted: bool = False,
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
        admitted: whether its kind has let it start, which a kind that guards claims must be asked for.

    Returns:
        The task, or None where it is not To do, not the caller's, due for another attempt, or not admitted.
    """
    rows = transaction.alone(
        _START,
        {
            **kinds.state_parameters("doing", pb.STATUS_EXECUTING),
            **events.moved_parameters(transaction.now, transaction.channel),
            "startable": [kind.name for kind in kinds.every() if admitted or not kind.guards_claims],
            "reason": reason,
            "claimed_by": node or transaction.organization,
            "key": key,
            "organization": transaction.organization,
            "attempt": attempt,
            "node": node,
            "claim_id": claim_id,
            "token_hash": token_hash,
            "lease": lease,
            "silence": transaction.rules.silence,
            "traceparent": transaction.traceparent,
        },
    ).all()
    started = tasks.of_rows(rows)
    if started:
        transaction.tells(EVENTS, POKES)
        waited = rows[0][-1]
        # One that never had a poke.
        transaction.waited = None if waited is None else max(0.0, float(waited))
    return started[0] if started else None
