"""Nodes: the worker processes of organizations, and when each was heard last."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, text

from orchestrator.store.database import Transaction

_HEAR = text("""
    INSERT INTO nodes (channel, organization, name, heard_at, attempts)
    VALUES (:channel, :organization, :name, :now, :attempts)
    ON CONFLICT (channel, organization, name) DO UPDATE SET heard_at = :now, attempts = :attempts
""")


def hear(transaction: Transaction, name: str, attempts: int) -> None:
    """Note that a node of the calling organization lives.

    Args:
        transaction: of the worker.
        name: of the node.
        attempts: how many it runs.
    """
    transaction.connection.execute(
        _HEAR,
        {
            "channel": transaction.channel,
            "organization": transaction.organization,
            "name": name,
            "now": transaction.now,
            "attempts": attempts,
        },
    )


_LIST = text("""
    SELECT organization, name, heard_at, attempts FROM nodes WHERE channel = :channel ORDER BY organization, name
""")


def of_channel(transaction: Transaction) -> Sequence[Row[Any]]:
    """Return the nodes that were heard in the channel."""
    return transaction.connection.execute(_LIST, {"channel": transaction.channel}).all()
