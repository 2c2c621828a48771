"""How far the event streams are: what a subscriber has not been sent is kept, and for a while also when it is away."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import text

from orchestrator.store.connection import Connection, Row
from orchestrator.store.database import Transaction

# Shared by streams that begin, held alone by whoever forgets events: it sees their rows, or they see what is gone.
_LOCK = 7230292
_SHARE = text(f"SELECT pg_advisory_xact_lock_shared({_LOCK})")
_HOLD = text(f"SELECT pg_advisory_xact_lock({_LOCK})")


def share(connection: Connection) -> None:
    """Keep events from being forgotten until the transaction ends."""
    connection.execute(_SHARE)


def hold(connection: Connection) -> None:
    """Keep streams from beginning until the transaction ends."""
    connection.execute(_HOLD)


_BEGIN = text("""
    INSERT INTO subscriptions (id, channel, organization, position, seen_at)
    VALUES (:id, :channel, :organization, :position, :now)
""")


def begin(transaction: Transaction, position: int) -> UUID:
    """Note a stream that begins after a position; return its id.

    Args:
        transaction: of the subscriber; has called `share` before it looked up the position.
        position: of the last event that the subscriber has.
    """
    identity = uuid4()
    transaction.connection.execute(
        _BEGIN,
        {
            "id": identity,
            "channel": transaction.channel,
            "organization": transaction.organization,
            "position": position,
            "now": transaction.now,
        },
    )
    return identity


_NOTE = text("""
    UPDATE subscriptions SET position = greatest(subscriptions.position, sent.position), seen_at = :now
    FROM unnest(CAST(:ids AS uuid[]), CAST(:positions AS bigint[])) AS sent (id, position)
    WHERE subscriptions.id = sent.id
""")


def note(connection: Connection, positions: Mapping[UUID, int], now: datetime) -> None:
    """Note how far streams are, all in one statement.

    Args:
        connection: inside a transaction.
        positions: id of the stream -> place up to which it was sent all events of its channel.
        now: the time.
    """
    connection.execute(_NOTE, {"ids": list(positions), "positions": list(positions.values()), "now": now})


# Of an open stream it is noted every few seconds (see `dispatch.cursors`).
_OPEN = text("SELECT EXISTS (SELECT FROM subscriptions WHERE seen_at > clock_timestamp() - interval '15 seconds')")


def are_open(connection: Connection) -> bool:
    """Return whether a stream is open in any server process, or was some seconds ago."""
    return bool(connection.execute(_OPEN).scalar_one())


_FARTHEST_BEHIND = text("""
    SELECT channel, organization, position, seen_at FROM subscriptions
    WHERE seen_at >= CAST(:now AS timestamptz) - CAST(:age AS interval) ORDER BY position LIMIT 1
""")


def farthest_behind(connection: Connection, now: datetime, age: timedelta) -> Row | None:
    """Return the stream that needs the oldest events, of those that live or ended no longer ago than `age`."""
    return connection.execute(_FARTHEST_BEHIND, {"now": now, "age": age}).one_or_none()
