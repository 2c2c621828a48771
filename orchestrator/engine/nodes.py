"""Nodes: the worker processes of organizations, and when each was heard last."""

from collections.abc import Sequence

from orchestrator.engine.transaction import POKES, Transaction
from orchestrator.store.connection import Row
from orchestrator.store.statements import statement

_HEAR = statement("""
    INSERT INTO nodes (channel, organization, name, heard_at, attempts, certificate_ends, queue, slots)
    VALUES (:channel, :organization, :name, :now, :attempts, :ends, :queue, :slots)
    ON CONFLICT (channel, organization, name)
    DO UPDATE SET heard_at = :now, attempts = :attempts, certificate_ends = :ends, queue = :queue, slots = :slots
""")


def hear(transaction: Transaction, name: str, attempts: int, queue: str, slots: int) -> None:
    """Note that a node of the calling organization lives, and when the certificate ends that it calls with.

    Args:
        transaction: of the worker.
        name: of the node.
        attempts: how many it runs.
        queue: which it reads.
        slots: how many it can run at once; 0 where it does not say.
    """
    transaction.tells(POKES)
    transaction.connection.execute(
        _HEAR,
        {
            "channel": transaction.channel,
            "organization": transaction.organization,
            "name": name,
            "now": transaction.now,
            "attempts": attempts,
            "ends": transaction.certificate_ends,
            "queue": queue,
            "slots": slots or None,
        },
    )


_LIST = statement("""
    SELECT organization, name, heard_at, attempts, certificate_ends, queue, slots FROM nodes
    WHERE channel = :channel ORDER BY organization, name
""")


def of_channel(transaction: Transaction) -> Sequence[Row]:
    """Return the nodes that were heard in the channel."""
    return transaction.connection.execute(_LIST, {"channel": transaction.channel}).all()
