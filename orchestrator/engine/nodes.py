"""Nodes: the worker processes of organizations, and when each was heard last."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, text

from orchestrator.engine.transaction import Transaction

_HEAR = text("""
    INSERT INTO nodes (channel, organization, name, heard_at, attempts, certificate_ends)
    VALUES (:channel, :organization, :name, :now, :attempts, :ends)
    ON CONFLICT (channel, organization, name)
    DO UPDATE SET heard_at = :now, attempts = :attempts, certificate_ends = :ends
""")


def hear(transaction: Transaction, name: str, attempts: int) -> None:
    """Note that a node of the calling organization lives, and when the certificate ends that it calls with.

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
            "ends": transaction.certificate_ends,
        },
    )


_LIST = text("""
    SELECT organization, name, heard_at, attempts, certificate_ends FROM nodes
    WHERE channel = :channel ORDER BY organization, name
""")


def of_channel(transaction: Transaction) -> Sequence[Row[Any]]:
    """Return the nodes that were heard in the channel."""
    return transaction.connection.execute(_LIST, {"channel": transaction.channel}).all()
