"""Nodes: the worker processes of organizations, and when each was heard last."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.engine import queues
from orchestrator.engine.transaction import Transaction
from orchestrator.store.connection import Row
from orchestrator.store.statements import statement

_HEAR = statement(
    """
    WITH heard_node AS (
             INSERT INTO nodes (channel, organization, name, heard_at, attempts, certificate_ends, queue, slots)
             VALUES (:channel, :organization, :name, :now, :attempts, :ends, :queue, :slots)
             ON CONFLICT (channel, organization, name)
             DO UPDATE SET heard_at = :now, attempts = :attempts, certificate_ends = :ends, queue = :queue,
                           slots = :slots
         ),
         $HEARD
    SELECT EXISTS (SELECT FROM unsent_pokes WHERE unsent_pokes.queue = :queue) AS makes_room
    """,
    HEARD=queues.HEARD,
)


def hear(transaction: Transaction, name: str, attempts: int, queue: str, slots: int) -> None:
    """Note that a node of the calling organization lives, which queue it reads, and when its certificate ends.

    Pokes that wait for room at its queue are looked at again. To be called last in a transaction: the row of the queue
    is one for all its nodes.

    Args:
        transaction: of the worker.
        name: of the node.
        attempts: how many it runs.
        queue: which it reads.
        slots: how many it can run at once; 0 where it does not say.
    """
    heard = transaction.alone(
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
            "silence": transaction.rules.silence,
        },
    )
    if heard.scalar_one():
        transaction.tells(queue)


_LIST = statement("""
    SELECT organization, name, heard_at, attempts, certificate_ends, queue, slots FROM nodes
    WHERE channel = :channel ORDER BY organization, name
""")


def of_channel(transaction: Transaction) -> Sequence[Row]:
    """Return the nodes that were heard in the channel."""
    return transaction.connection.execute(_LIST, {"channel": transaction.channel}).all()


_SEATS = statement("""
    WITH node AS (
             SELECT max(slots) AS slots, sum(attempts) AS attempts, max(heard_at) AS heard_at,
                    max(heard_at) > CAST(:now AS timestamptz) - CAST(:silence AS interval) AS heard
             FROM nodes WHERE queue = :queue GROUP BY organization, name
         )
    SELECT max(heard_at) AS heard_at, coalesce(bool_or(heard), false) AS heard,
           CASE WHEN bool_and(slots IS NOT NULL) FILTER (WHERE heard) THEN sum(slots) FILTER (WHERE heard) END AS slots,
           coalesce(sum(attempts) FILTER (WHERE heard), 0) AS taken
    FROM node
""")


@dataclass(frozen=True)
class Seats:
    """Who reads a queue.

    Args:
        heard_at: when one of its nodes was heard last, None where none ever was.
        heard: whether one was heard lately.
        slots: how many attempts those can run at once, None where one of them does not say.
        taken: how many they run.
    """

    heard_at: datetime | None
    heard: bool
    slots: int | None
    taken: int


def seats(transaction: Transaction, queue: str) -> Seats:
    """Return who reads a queue, in any channel."""
    parameters = {"queue": queue, "now": transaction.now, "silence": transaction.rules.silence}
    row = transaction.connection.execute(_SEATS, parameters).one()
    return Seats(row.heard_at, row.heard, None if row.slots is None else int(row.slots), int(row.taken))


_HEARD = statement(
    "SELECT heard_at FROM nodes WHERE channel = :channel AND organization = :organization AND name = :name"
)


def heard_at(transaction: Transaction, organization: str, name: str) -> datetime | None:
    """Return when a node was heard last in the channel, None where it never was."""
    parameters = {"channel": transaction.channel, "organization": organization, "name": name}
    found: datetime | None = transaction.connection.execute(_HEARD, parameters).scalar_one_or_none()
    return found
