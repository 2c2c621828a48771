"""How a task starts: one statement, which begins its next attempt and tells of it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import TextClause

from orchestrator import protos as pb
from orchestrator.core.pokes import RUN_TASK
from orchestrator.engine import kinds, tasks
from orchestrator.engine.tasks import COLUMNS, RETURNED, Task
from orchestrator.engine.transaction import EVENTS, Transaction
from orchestrator.store.connection import Row
from orchestrator.store.statements import statement
from orchestrator.trace import events

# A poke that the relay holds is on its way, and keeps its traceparent. Who starts a task without a lease has workers
# that send no heartbeats: their silence, if nodes were heard before, says nothing any more (see `engine.queues`).
_START = """
    WITH $STARTED,
         $CALL,
         attempt AS (
             INSERT INTO attempts (task_key, number, node, claim_id, token_hash, claimed_at, lease_until)
             SELECT key, attempts, node, claim_id, token_hash,
                    (SELECT now FROM call), (SELECT now FROM call) + CAST(:lease AS interval)
             FROM started
         ),
         unsettled_attempt AS (INSERT INTO unsettled (task_key, number) SELECT key, attempts FROM started),
         decline AS (DELETE FROM declines USING started WHERE task_key = started.key),
         poke AS (
             SELECT id, outbox.key, created_at FROM outbox JOIN started ON outbox.key = started.key
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
             SELECT $ORDINAL AS ordinal, asset_kind, key, message || doing.state AS asset,
                    coalesce(CAST(:reason AS text), format('attempt %s claimed by %s', attempts, claimed_by)) AS reason
             FROM started JOIN $STATES USING (kind)
         ),
         $MOVED
    SELECT $COLUMNS,
           (SELECT extract(epoch FROM CAST(:now AS timestamptz) - min(created_at)) FROM poke
            WHERE poke.key = started.key) AS waited,
           EXISTS (SELECT FROM unsent_pokes WHERE unsent_pokes.queue = started.queue) AS makes_room
    FROM started
"""
_MOVE = """
             UPDATE task_states
             SET status = $DOING, attempts = attempts + 1, token_hash = asked.token_hash, due_at = NULL,
                 poked_at = NULL, pokes = 0
"""
_DUE = """
             channel = :channel AND worker = :organization AND kind = ANY(CAST(:startable AS text[]))
             AND status = $TO_DO AND (asked.attempt = 0 OR attempts + 1 = asked.attempt)
             AND (due_at IS NULL OR due_at <= :now)
"""
_STARTED = "RETURNING $RETURNED, asked.token_hash, node, claim_id, claimed_by"
_STARTED_ONE = f"""
         started AS (
             {_MOVE}
             FROM tasks,
                  (SELECT CAST(:attempt AS int) AS attempt, CAST(:token_hash AS bytea) AS token_hash,
                          CAST(:node AS text) AS node, CAST(:claim_id AS text) AS claim_id,
                          CAST(:claimed_by AS text) AS claimed_by) AS asked
             WHERE tasks.key = :key AND task_states.key = :key AND {_DUE}
               AND (CAST(:whatever AS boolean)
                    OR EXISTS (SELECT FROM unnest(CAST(:required AS uuid[]), CAST(:owners AS text[]))
                                           AS agreed (required, owner)
                               WHERE agreed.required = requires AND agreed.owner = tasks.owner))
             {_STARTED}
         )
"""  # noqa: S608 - constants
# They are locked in the order of their keys, as whoever cancels their plan does. The limit is all of them: of arrays
# that Postgres does not know it expects ten rows, and so plans anew each time.
_STARTED_MANY = f"""
         asked AS MATERIALIZED (
             SELECT key, attempt, token_hash, node, claim_id, coalesce(node, :organization) AS claimed_by, ordinal
             FROM unnest(CAST(:keys AS uuid[]), CAST(:attempts AS int[]), CAST(:token_hashes AS bytea[]),
                         CAST(:nodes AS text[]), CAST(:claim_ids AS text[])) WITH ORDINALITY
                  AS each (key, attempt, token_hash, node, claim_id, ordinal)
             LIMIT cardinality(CAST(:keys AS uuid[]))
         ),
         held AS MATERIALIZED (
             SELECT task_states.key FROM asked JOIN tasks USING (key) JOIN task_states USING (key)
             WHERE {_DUE}
             ORDER BY task_states.key FOR NO KEY UPDATE OF task_states
         ),
         started AS (
             {_MOVE}
             FROM held JOIN asked USING (key) JOIN tasks USING (key)
             WHERE task_states.key = held.key AND {_DUE}
             {_STARTED}, asked.ordinal
         )
"""  # noqa: S608 - constants


def _start(started: str, ordinal: str) -> TextClause:
    return statement(
        _START,
        STARTED=started,
        ORDINAL=ordinal,
        COLUMNS=COLUMNS,
        RETURNED=RETURNED,
        RUN_TASK=RUN_TASK,
        CALL=events.call("started"),
        STATES=kinds.states("doing"),
        MOVED=events.MOVED,
    )


_START_ONE = _start(_STARTED_ONE, "CAST(0 AS bigint)")
_START_MANY = _start(_STARTED_MANY, "row_number() OVER (ORDER BY started.ordinal) - 1")


@dataclass(frozen=True)
class Claim:
    """What a worker claims.

    Args:
        key: the task.
        attempt: the number that the next attempt must have; 0 for any.
        node: who runs it.
        claim_id: names the claim, so that it can be repeated.
        token_hash: SHA-256 of the attempt's token.
    """

    key: UUID
    attempt: int
    node: str
    claim_id: str
    token_hash: bytes


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
    agreed: Collection[tuple[UUID, str]] | None = None,
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
        agreed: what it may require, and who may own it; None for whatever it requires.

    Returns:
        The task, or None where it is not To do, not the caller's, due for another attempt, not admitted, or not agreed.
    """
    rows = transaction.alone(
        _START_ONE,
        {
            **_parameters(transaction, lease, admitted),
            "reason": reason,
            "claimed_by": node or transaction.organization,
            "key": key,
            "attempt": attempt,
            "node": node,
            "claim_id": claim_id,
            "token_hash": token_hash,
            "whatever": agreed is None,
            "required": [required for required, _ in agreed or ()],
            "owners": [owner for _, owner in agreed or ()],
        },
    ).all()
    started = _told(transaction, rows)
    return started[0] if started else None


def start_many(transaction: Transaction, claims: Sequence[Claim]) -> dict[UUID, Task]:
    """Start those of many tasks that can be, as `start` does each; return them by their keys.

    Args:
        transaction: of the worker.
        claims: each of another task.
    """
    rows = transaction.connection.execute(
        _START_MANY,
        {
            **_parameters(transaction, transaction.rules.lease, admitted=False),
            "reason": None,
            "keys": [claim.key for claim in claims],
            "attempts": [claim.attempt for claim in claims],
            "token_hashes": [claim.token_hash for claim in claims],
            "nodes": [claim.node or None for claim in claims],
            "claim_ids": [claim.claim_id for claim in claims],
        },
    ).all()
    return {task.key: task for task in _told(transaction, rows)}


def _parameters(transaction: Transaction, lease: timedelta | None, admitted: bool) -> dict[str, object]:
    return {
        **kinds.state_parameters("doing", pb.STATUS_EXECUTING),
        **events.moved_parameters(transaction.now, transaction.channel),
        "startable": [kind.name for kind in kinds.every() if admitted or not kind.guards_claims],
        "organization": transaction.organization,
        "lease": lease,
        "silence": transaction.rules.silence,
        "traceparent": transaction.traceparent,
    }


def _told(transaction: Transaction, rows: Sequence[Row]) -> list[Task]:
    if rows:
        transaction.tells(EVENTS, *(row.queue for row in rows if row.makes_room))
        # One that never had a poke says nothing.
        transaction.waits += [max(0.0, float(row.waited)) for row in rows if row.waited is not None]
    return tasks.of_rows(rows)
