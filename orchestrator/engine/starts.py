"""How a task starts: one statement, which begins its next attempt and tells of it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
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
# The relay is told of room for pokes when half of it is free: one for each slot, and one more, is out then. The newest
# are looked at first, since those that were claimed are the oldest.
_START = """
    WITH $STARTED,
         $CALL,
         attempt AS (
             INSERT INTO attempts (task_key, number, node, claim_id, token_hash, claimed_at, lease_until)
             SELECT key, attempts, node, claim_id, token_hash, (SELECT now FROM call),
                    CASE WHEN token_hash IS NOT NULL THEN (SELECT now FROM call) + CAST(:lease AS interval) END
             FROM started
         ),
         unsettled_attempt AS (INSERT INTO unsettled (task_key, number) SELECT key, attempts FROM started),
         $DECLINED
         poke AS (
             SELECT id, outbox.key, created_at, started.traceparent
             FROM outbox JOIN started ON outbox.key = started.key
             WHERE outbox.message = '$RUN_TASK' AND attempt = started.attempts
         ),
         traced AS (
             UPDATE outbox SET traceparent = free.traceparent
             FROM (SELECT outbox.id, poke.traceparent FROM outbox JOIN poke ON poke.id = outbox.id
                   WHERE poke.traceparent IS NOT NULL FOR UPDATE OF outbox SKIP LOCKED) AS free
             WHERE outbox.id = free.id
         ),
         unheard AS (
             DELETE FROM queues
             WHERE name IN (SELECT name FROM queues
                            WHERE name IN (SELECT queue FROM started WHERE token_hash IS NULL)
                              AND heard_at < CAST(:now AS timestamptz) - CAST(:silence AS interval)
                            FOR UPDATE SKIP LOCKED)
         ),
         moved AS (
             SELECT $ORDINAL AS ordinal, channel, asset_kind, key, message || doing.state AS asset,
                    jsonb_build_object('reason', coalesce(reason, format('attempt %s claimed by %s', attempts,
                                                                         claimed_by))) AS metadata
             FROM started JOIN $STATES USING (kind)
         ),
         $MOVED
    SELECT $COLUMNS,
           (SELECT extract(epoch FROM CAST(:now AS timestamptz) - min(created_at)) FROM poke
            WHERE poke.key = started.key) AS waited,
           CASE WHEN EXISTS (SELECT FROM unsent_pokes WHERE unsent_pokes.queue = started.queue)
                THEN half.pokes IS NULL
                     OR (SELECT count(*)
                         FROM (SELECT FROM sent_pokes AS sent
                               CROSS JOIN LATERAL (SELECT FROM task_states AS due
                                                   WHERE due.key = sent.key AND due.status = $TO_DO
                                                     AND due.attempts + 1 = sent.attempt OFFSET 0) AS due
                               WHERE sent.queue = started.queue
                                 AND NOT EXISTS (SELECT FROM started AS gone WHERE gone.key = sent.key)
                               ORDER BY sent_at DESC LIMIT half.pokes + 1) AS out) <= half.pokes
                ELSE false END AS makes_room
    FROM started
         CROSS JOIN LATERAL (SELECT sum(slots) + 1 AS pokes FROM nodes
                             WHERE nodes.channel = started.channel AND organization = worker
                               AND nodes.queue = started.queue) AS half
"""
_MOVE = """
             UPDATE task_states
             SET status = $DOING, attempts = attempts + 1, token_hash = asked.token_hash, due_at = NULL,
                 poked_at = NULL, pokes = 0
"""
_DUE = """
             tasks.channel = asked.channel AND worker = organization AND kind = ANY(CAST(:startable AS text[]))
             AND status = $TO_DO AND (asked.attempt = 0 OR attempts + 1 = asked.attempt)
             AND (due_at IS NULL OR due_at <= :now)
             AND (whatever OR EXISTS (SELECT FROM agreed WHERE agreed.claim = asked.ordinal
                                                           AND required = requires AND agreed.owner = tasks.owner))
"""
_AGREED = """
         agreed AS MATERIALIZED (
             SELECT claim, required, owner
             FROM unnest(CAST(:agreed_claims AS int[]), CAST(:required AS uuid[]), CAST(:owners AS text[]))
                  AS each (claim, required, owner)
             LIMIT cardinality(CAST(:agreed_claims AS int[]))
         ),
"""
_STARTED = "RETURNING $RETURNED, tasks.channel, asked.token_hash, node, claim_id, claimed_by, reason, traceparent"
_STARTED_ONE = f"""
         {_AGREED}
         started AS (
             {_MOVE}
             FROM tasks,
                  (SELECT CAST(:attempt AS int) AS attempt, CAST(:token_hash AS bytea) AS token_hash,
                          CAST(:node AS text) AS node, CAST(:claim_id AS text) AS claim_id,
                          coalesce(nullif(CAST(:node AS text), ''), :organization) AS claimed_by,
                          CAST(:reason AS text) AS reason, CAST(:organization AS text) AS organization,
                          CAST(:channel AS text) AS channel, CAST(:traceparent AS text) AS traceparent,
                          CAST(:whatever AS boolean) AS whatever, 1 AS ordinal) AS asked
             WHERE tasks.key = :key AND task_states.key = :key AND {_DUE}
             {_STARTED}
         )
"""
# They are locked in the order of their keys, as whoever cancels their plan does. Those that were declined are left, for
# whoever takes a decline back holds its row. The limit is all of them: of arrays that Postgres does not know it expects
# ten rows, and so plans anew each time.
_STARTED_MANY = f"""
         {_AGREED}
         asked AS MATERIALIZED (
             SELECT key, attempt, token_hash, node, claim_id, coalesce(nullif(node, ''), organization) AS claimed_by,
                    reason, organization, channel, traceparent, whatever, ordinal
             FROM unnest(CAST(:keys AS uuid[]), CAST(:attempts AS int[]), CAST(:token_hashes AS bytea[]),
                         CAST(:nodes AS text[]), CAST(:claim_ids AS text[]), CAST(:reasons AS text[]),
                         CAST(:organizations AS text[]), CAST(:channels AS text[]), CAST(:traceparents AS text[]),
                         CAST(:whatever AS boolean[]))
                  WITH ORDINALITY AS each (key, attempt, token_hash, node, claim_id, reason, organization, channel,
                                           traceparent, whatever, ordinal)
             LIMIT cardinality(CAST(:keys AS uuid[]))
         ),
         held AS MATERIALIZED (
             SELECT task_states.key FROM asked JOIN tasks USING (key) JOIN task_states USING (key)
             WHERE {_DUE} AND NOT EXISTS (SELECT FROM declines WHERE task_key = task_states.key)
             ORDER BY task_states.key FOR NO KEY UPDATE OF task_states $LOCKED
         ),
         started AS (
             {_MOVE}
             FROM held JOIN asked USING (key) JOIN tasks USING (key)
             WHERE task_states.key = held.key AND {_DUE}
             {_STARTED}, asked.ordinal
         )
"""  # noqa: S608 - constants


def _start(started: str, ordinal: str, declined: str = "", locked: str = "") -> TextClause:
    return statement(
        _START,
        STARTED=started,
        ORDINAL=ordinal,
        DECLINED=declined,
        LOCKED=locked,
        COLUMNS=COLUMNS,
        RETURNED=RETURNED,
        RUN_TASK=RUN_TASK,
        CALL=events.call("started"),
        STATES=kinds.states("doing"),
        MOVED=events.MOVED,
    )


_DECLINED = "decline AS (DELETE FROM declines USING started WHERE task_key = started.key),"
_ORDINAL = "row_number() OVER (ORDER BY started.ordinal) - 1"
_START_ONE = _start(_STARTED_ONE, "CAST(0 AS bigint)", _DECLINED)
_START_MANY = _start(_STARTED_MANY, _ORDINAL)
_START_FREE = _start(_STARTED_MANY, _ORDINAL, locked="SKIP LOCKED")


@dataclass(frozen=True)
class Claim:
    """What a worker claims, or starts without an attempt.

    Args:
        key: the task.
        attempt: the number that the next attempt must have; 0 for any.
        node: who runs it.
        claim_id: names the claim, so that it can be repeated.
        token_hash: SHA-256 of the attempt's token; None for a client without attempts, whom no lease binds.
        reason: why, for the event; None says who has claimed it.
        agreed: what it may require, each with who may own it; None for whatever it requires.
    """

    key: UUID
    attempt: int = 0
    node: str | None = None
    claim_id: str | None = None
    token_hash: bytes | None = None
    reason: str | None = None
    agreed: Collection[tuple[UUID, str]] | None = None


def start(transaction: Transaction, claim: Claim, *, admitted: bool = False) -> Task | None:
    """Move a task of the calling worker from To do to Doing, begin its next attempt, and tell of it.

    It is all that a transaction changes; see `Transaction.alone`.

    Args:
        transaction: of the worker.
        claim: what is started.
        admitted: whether its kind has let it start, which a kind that guards claims must be asked for.

    Returns:
        The task, or None where it is not To do, not the caller's, due for another attempt, not admitted, or not agreed.
    """
    rows = transaction.alone(
        _START_ONE,
        {
            **_parameters(transaction, [claim], admitted),
            "key": claim.key,
            "attempt": claim.attempt,
            "node": claim.node,
            "claim_id": claim.claim_id,
            "token_hash": claim.token_hash,
            "reason": claim.reason,
            "organization": transaction.organization,
            "channel": transaction.channel,
            "traceparent": transaction.traceparent,
            "whatever": claim.agreed is None,
        },
    ).all()
    started = tasks.of_rows(rows)
    if not started:
        return None
    _told(transaction, rows[0])
    return started[0]


def start_many(asked: Sequence[tuple[Transaction, Claim]], *, free: bool = False) -> dict[UUID, Task]:
    """Start those of many tasks that can be, as `start` does each, but for those that were declined.

    Args:
        asked: each of another task, with the transaction of its worker; all on one connection.
        free: only those that nobody else has locked.

    Returns:
        The tasks that were started, by their keys.
    """
    if not asked:
        return {}
    first, _ = asked[0]
    rows = first.connection.execute(
        _START_FREE if free else _START_MANY,
        {
            **_parameters(first, [claim for _, claim in asked], admitted=False),
            "keys": [claim.key for _, claim in asked],
            "attempts": [claim.attempt for _, claim in asked],
            "nodes": [claim.node for _, claim in asked],
            "claim_ids": [claim.claim_id for _, claim in asked],
            "token_hashes": [claim.token_hash for _, claim in asked],
            "reasons": [claim.reason for _, claim in asked],
            "organizations": [transaction.organization for transaction, _ in asked],
            "channels": [transaction.channel for transaction, _ in asked],
            "traceparents": [transaction.traceparent for transaction, _ in asked],
            "whatever": [claim.agreed is None for _, claim in asked],
        },
    ).all()
    of_task = {claim.key: transaction for transaction, claim in asked}
    for row in rows:
        _told(of_task[row.key], row)
    return {task.key: task for task in tasks.of_rows(rows)}


def _parameters(transaction: Transaction, claims: Sequence[Claim], admitted: bool) -> dict[str, object]:
    agreed = [(number, *each) for number, claim in enumerate(claims, 1) for each in claim.agreed or ()]
    return {
        **kinds.state_parameters("doing", pb.STATUS_EXECUTING),
        **events.moved_parameters(transaction.now),
        "startable": [kind.name for kind in kinds.every() if admitted or not kind.guards_claims],
        "lease": transaction.rules.lease,
        "silence": transaction.rules.silence,
        "agreed_claims": [number for number, _, _ in agreed],
        "required": [required for _, required, _ in agreed],
        "owners": [owner for _, _, owner in agreed],
    }


def _told(transaction: Transaction, row: Row) -> None:
    transaction.tells(EVENTS, *([row.queue] if row.makes_room else []))
    # One that never had a poke says nothing.
    if row.waited is not None:
        transaction.waits.append(max(0.0, float(row.waited)))
