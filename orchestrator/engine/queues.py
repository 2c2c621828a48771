"""Queues of organizations: whether anybody reads them, since when, and when they were emptied."""

from sqlalchemy import text

from orchestrator.engine.transaction import Transaction

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
