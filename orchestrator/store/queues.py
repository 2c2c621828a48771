"""Queues of organizations: whether anybody reads them, since when, and when they were emptied."""

from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from orchestrator.store.database import Transaction

_HEAR = text("""
    INSERT INTO queues (organization, heard_at, since) VALUES (:organization, :now, :now)
    ON CONFLICT (organization) DO UPDATE
    SET since = CASE WHEN queues.heard_at < CAST(:now AS timestamptz) - CAST(:silence AS interval)
                     THEN :now ELSE queues.since END,
        heard_at = greatest(queues.heard_at, :now)
""")


def hear(transaction: Transaction) -> None:
    """Note that a node of the calling organization lives, which reads its queue.

    Its row is one for all nodes: to be called last in a transaction, so that none waits long for another.
    """
    transaction.connection.execute(
        _HEAR,
        {
            "organization": transaction.organization,
            "now": transaction.now,
            "silence": transaction.rules.silence,
        },
    )


_EMPTY = text("""
    WITH stale AS (
             SELECT organization FROM queues
             WHERE heard_at < CAST(:now AS timestamptz) - CAST(:age AS interval)
               AND (emptied_at IS NULL OR emptied_at < CAST(:now AS timestamptz) - CAST(:age AS interval))
               AND NOT EXISTS (SELECT FROM outbox
                               WHERE outbox.organization = queues.organization AND sent_at IS NULL AND kind = 'purge')
             ORDER BY organization LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
         ),
         emptied AS (UPDATE queues SET emptied_at = :now FROM stale WHERE queues.organization = stale.organization),
         poke AS (
             INSERT INTO outbox (kind, organization, asset_key, attempt, created_at)
             SELECT 'purge', organization, '00000000-0000-0000-0000-000000000000', 0, CAST(:now AS timestamptz)
             FROM stale
         )
    SELECT count(*), pg_notify('orchestrator_written', '') FROM stale HAVING count(*) > 0
""")


def empty_stale(connection: Connection, now: datetime, limit: int, age: timedelta) -> int:
    """Have queues emptied that nobody has read for so long; return how many.

    Args:
        connection: inside a transaction.
        now: the time.
        limit: most queues.
        age: how long nobody was heard, and how long ago the queue was emptied last.
    """
    row = connection.execute(_EMPTY, {"now": now, "limit": limit, "age": age}).one_or_none()
    return int(row[0]) if row else 0
