"""What the sweeps look for, and the repairs that are one statement: bounded, guarded, and passing over locked rows."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, text

# Where no server has ever noted that it serves (see store.service), nobody can tell when it was away.
_EXPIRED = text("""
    SELECT task_key, number, attempts.token_hash, channel
    FROM attempts JOIN tasks ON key = task_key
    WHERE ended_at IS NULL AND lease_until < :now AND status = 3
      AND NOT EXISTS (SELECT FROM service
                      WHERE served_since > now() - CAST(:lease AS interval)
                         OR served_at < now() - CAST(:gap AS interval))
    ORDER BY lease_until LIMIT :limit
""")


def expired_leases(
    connection: Connection, now: datetime, limit: int, lease: timedelta, gap: timedelta
) -> Sequence[Row[Any]]:
    """Return running attempts whose lease ended before a moment, though it could have been renewed.

    Args:
        connection: inside a transaction.
        now: the moment.
        limit: most attempts.
        lease: how long the orchestrator must have served without a gap.
        gap: how long ago it may have served last.
    """
    return connection.execute(_EXPIRED, {"now": now, "limit": limit, "lease": lease, "gap": gap}).all()


_DUE = text("""
    WITH due AS (
             SELECT key FROM tasks WHERE status = 2 AND due_at <= :now
             ORDER BY due_at LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
         ),
         again AS (
             UPDATE tasks SET due_at = NULL, poked_at = :now, pokes = 0
             FROM due WHERE tasks.key = due.key
             RETURNING worker, tasks.key, attempts
         ),
         poke AS (
             INSERT INTO outbox (kind, organization, asset_key, attempt, created_at)
             SELECT 'task', worker, key, attempts + 1, :now FROM again
         )
    SELECT count(*), pg_notify('orchestrator_written', '') FROM again HAVING count(*) > 0
""")


def poke_due(connection: Connection, now: datetime, limit: int) -> int:
    """Poke for tasks whose pause before the next attempt is over; return how many."""
    row = connection.execute(_DUE, {"now": now, "limit": limit}).one_or_none()
    return int(row[0]) if row else 0


# What ran for a task that was ended over its head, and has not reported since that it ended itself.
_UNACKNOWLEDGED = (
    "outcome IN (5, 6) AND stopped_at IS NULL AND claim_id IS NOT NULL AND report_hash IS NULL AND fault IS NULL"
)

# A new poke only when the last one lies in the first half of the time since the attempt ended: so the pause doubles.
_STOP = text(f"""
    WITH running AS (
             SELECT task_key, number FROM attempts
             WHERE {_UNACKNOWLEDGED}
               AND ended_at < CAST(:now AS timestamptz) - CAST(:age AS interval)
               AND ended_at > CAST(:now AS timestamptz) - CAST(:deadline AS interval)
               AND (poked_at IS NULL OR poked_at <= ended_at + (CAST(:now AS timestamptz) - ended_at) / 2)
               AND NOT EXISTS (SELECT FROM outbox WHERE asset_key = task_key AND kind = 'stop' AND sent_at IS NULL)
             ORDER BY ended_at LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
         ),
         marked AS (
             UPDATE attempts SET poked_at = :now FROM running
             WHERE attempts.task_key = running.task_key AND attempts.number = running.number
         ),
         poke AS (
             INSERT INTO outbox (kind, organization, asset_key, attempt, created_at)
             SELECT 'stop', worker, task_key, number, :now FROM running JOIN tasks ON key = task_key
             RETURNING id
         )
    SELECT count(*), pg_notify('orchestrator_written', '') FROM poke HAVING count(*) > 0
""")  # noqa: S608 - what is put in is the constant above


def repeat_stops(connection: Connection, now: datetime, limit: int, age: timedelta, deadline: timedelta) -> int:
    """Tell nodes again to stop attempts whose end they have not acknowledged; return how many.

    Args:
        connection: inside a transaction.
        now: the time.
        limit: most attempts.
        age: how long an acknowledgement may take; the pause between two pokes doubles from there.
        deadline: how long one is asked for.
    """
    row = connection.execute(_STOP, {"now": now, "limit": limit, "age": age, "deadline": deadline}).one_or_none()
    return int(row[0]) if row else 0


# A heartbeat names all that its node runs: what a node has never named, it never began.
_UNBEGUN = text(f"""
    WITH unbegun AS (
             SELECT task_key, number FROM attempts
             JOIN tasks ON key = task_key
             JOIN nodes ON nodes.channel = tasks.channel AND organization = worker AND name = node
             WHERE {_UNACKNOWLEDGED} AND delivered_at IS NULL
               AND heard_at > ended_at + CAST(:lease AS interval)
             ORDER BY ended_at LIMIT :limit FOR NO KEY UPDATE OF attempts SKIP LOCKED
         )
    UPDATE attempts SET delivered_at = :now, stopped_at = :now FROM unbegun
    WHERE attempts.task_key = unbegun.task_key AND attempts.number = unbegun.number
""")  # noqa: S608 - what is put in is the constant above


def note_unbegun(connection: Connection, now: datetime, limit: int, lease: timedelta) -> int:
    """Note as stopped the cancelled attempts that never began, as the answer to their claim was lost; return how many.

    Args:
        connection: inside a transaction.
        now: the time.
        limit: most attempts.
        lease: how long after the cancellation their node must have been heard, without naming them.
    """
    return connection.execute(_UNBEGUN, {"now": now, "limit": limit, "lease": lease}).rowcount


_TAKE_PLAN = text("SELECT key FROM compute_plans WHERE key = :key FOR NO KEY UPDATE SKIP LOCKED")


def take_plan(connection: Connection, key: UUID) -> bool:
    """Lock a compute plan until the transaction ends; return False where another transaction holds it."""
    return connection.execute(_TAKE_PLAN, {"key": key}).one_or_none() is not None


_STUCK_PLANS = text("""
    SELECT DISTINCT compute_plans.key, compute_plans.channel
    FROM tasks JOIN compute_plans ON compute_plans.key = plan_key
    WHERE (status IN (1, 2, 7, 8) AND ended_at IS NOT NULL)
       OR (status IN (1, 7, 8)
           AND EXISTS (SELECT FROM edges JOIN tasks AS parents ON parents.key = parent
                       WHERE child = tasks.key AND parents.status IN (5, 6)))
    ORDER BY compute_plans.key LIMIT :limit
""")


def stuck_plans(connection: Connection, limit: int) -> Sequence[Row[Any]]:
    """Return compute plans with tasks that can never run: the plan has ended, or a parent has failed."""
    return connection.execute(_STUCK_PLANS, {"limit": limit}).all()


_DISABLE = text("""
    WITH idle AS (
             SELECT models.key, task_key, tasks.worker
             FROM models JOIN tasks ON tasks.key = task_key LEFT JOIN queues ON queues.organization = tasks.worker
             WHERE transient AND NOT disabled AND status IN (4, 5, 6)
               AND (models.poked_at IS NULL OR models.poked_at < since
                    OR (models.poked_at < CAST(:now AS timestamptz) - CAST(:age AS interval)
                        AND (heard_at IS NULL OR heard_at > CAST(:now AS timestamptz) - CAST(:silence AS interval))))
               AND NOT EXISTS (SELECT FROM outbox WHERE asset_key = task_key AND kind = 'disable' AND sent_at IS NULL)
               AND EXISTS (SELECT FROM edges WHERE parent = task_key)
               AND NOT EXISTS (SELECT FROM edges JOIN tasks AS children ON children.key = child
                               WHERE parent = task_key AND children.status NOT IN (4, 5, 6))
             ORDER BY models.key LIMIT :limit FOR NO KEY UPDATE OF models SKIP LOCKED
         ),
         marked AS (UPDATE models SET poked_at = :now FROM idle WHERE models.key = idle.key),
         poke AS (
             INSERT INTO outbox (kind, organization, asset_key, attempt, created_at)
             SELECT DISTINCT 'disable', worker, task_key, 1, CAST(:now AS timestamptz) FROM idle
         )
    SELECT count(*), pg_notify('orchestrator_written', '') FROM idle HAVING count(*) > 0
""")


def poke_idle_outputs(connection: Connection, now: datetime, limit: int, age: timedelta, silence: timedelta) -> int:
    """Ask workers to delete transient models that no task can need any more; return how many models.

    Args:
        connection: inside a transaction.
        now: the time.
        limit: most models.
        age: how long they have before they are asked again.
        silence: how long their nodes may not be heard before they are asked no more, until one is heard again.
    """
    parameters = {"now": now, "limit": limit, "age": age, "silence": silence}
    row = connection.execute(_DISABLE, parameters).one_or_none()
    return int(row[0]) if row else 0


_FORGET_POKES = text("""
    DELETE FROM outbox WHERE id IN (
        SELECT id FROM outbox WHERE sent_at < CAST(:now AS timestamptz) - CAST(:age AS interval)
        ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED)
""")


def forget_pokes(connection: Connection, now: datetime, limit: int, age: timedelta) -> int:
    """Delete pokes that were sent long ago; return how many."""
    return connection.execute(_FORGET_POKES, {"now": now, "limit": limit, "age": age}).rowcount


_FORGET_NODES = text("""
    DELETE FROM nodes WHERE (channel, organization, name) IN (
        SELECT channel, organization, name FROM nodes
        WHERE heard_at < CAST(:now AS timestamptz) - CAST(:age AS interval)
        ORDER BY heard_at LIMIT :limit FOR UPDATE SKIP LOCKED)
""")


def forget_nodes(connection: Connection, now: datetime, limit: int, age: timedelta) -> int:
    """Delete nodes that were heard last long ago; return how many."""
    return connection.execute(_FORGET_NODES, {"now": now, "limit": limit, "age": age}).rowcount


# A stop that was not acknowledged is kept for the receipt, see `_STOP`.
_FORGET_ATTEMPTS = text(f"""
    WITH old AS (
             SELECT key FROM attempts AS latest JOIN tasks ON key = latest.task_key AND tasks.attempts = latest.number
             WHERE latest.ended_at < CAST(:now AS timestamptz) - CAST(:age AS interval) AND status IN (4, 5, 6)
               AND NOT EXISTS (
                   SELECT FROM attempts AS one WHERE one.task_key = key AND {_UNACKNOWLEDGED}
                     AND one.ended_at > CAST(:now AS timestamptz) - CAST(:deadline AS interval))
             ORDER BY latest.ended_at LIMIT :limit FOR UPDATE SKIP LOCKED
         ),
         gone AS (DELETE FROM attempts USING old WHERE task_key = key)
    SELECT count(*) FROM old
""")  # noqa: S608 - what is put in is the constant above


def forget_attempts(connection: Connection, now: datetime, limit: int, age: timedelta, deadline: timedelta) -> int:
    """Delete the attempts of tasks that ended long ago; return of how many tasks, see services.retention."""
    parameters = {"now": now, "limit": limit, "age": age, "deadline": deadline}
    return int(connection.execute(_FORGET_ATTEMPTS, parameters).scalar_one())
