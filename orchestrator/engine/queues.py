"""Queues: whether anybody reads them, since when, and when they were emptied."""

from orchestrator.engine.transaction import Transaction
from orchestrator.store.statements import statement

_HEAR = statement("""
    INSERT INTO queues (name, heard_at, since) VALUES (:name, :now, :now)
    ON CONFLICT (name) DO UPDATE
    SET since = CASE WHEN queues.heard_at < CAST(:now AS timestamptz) - CAST(:silence AS interval)
                     THEN :now ELSE queues.since END,
        heard_at = greatest(queues.heard_at, :now)
""")


def hear(transaction: Transaction, name: str) -> None:
    """Note that a node lives which reads a queue.

    Its row is one for all nodes: to be called last in a transaction, so that none waits long for another.
    """
    transaction.connection.execute(
        _HEAR,
        {
            "name": name,
            "now": transaction.now,
            "silence": transaction.rules.silence,
        },
    )
