"""Places: the one order of readers, which events get after their commit.

Nothing that a reader has is ever joined by something before it: who resumes after any place gets all that comes later.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text

from orchestrator.core.errors import NotFoundError
from orchestrator.store.connection import Connection
from orchestrator.store.statements import statement
from orchestrator.trace import envelopes, events

# One transaction at a time gives places, so that they have no gap and never change; it holds the lock for the
# length of one batch. A writer draws its number after it took its row locks and read what it read, so whatever it
# depends on has a smaller one. A batch ends with a whole call (WITH TIES): its events stay neighbours. It is waited for
# as long as it takes: whoever does that is no call, and holds no place of one.
LOCK = text("SELECT set_config('lock_timeout', '0', true), pg_advisory_xact_lock(7230291)")
"""Held by whoever gives places, until the transaction ends."""

_PLACE = text("""
    WITH taken AS (
             DELETE FROM unplaced
             WHERE ctid = ANY (ARRAY(SELECT ctid FROM unplaced ORDER BY sequence FETCH FIRST (:limit) ROWS WITH TIES))
             RETURNING sequence, channel, event
         ),
         placed AS (
             INSERT INTO places (position, channel, event)
             SELECT (SELECT coalesce(max(position), 0) FROM places) + row_number() OVER (ORDER BY sequence, event),
                    channel, event
             FROM taken
             RETURNING position
         )
    SELECT count(*) AS count, pg_notify('orchestrator_placed', :by) FROM placed HAVING count(*) > 0
""")


def place(connection: Connection, limit: int, by: str = "") -> int:
    """Give committed events their place in the order of readers; return how many got one.

    Args:
        connection: inside a transaction.
        limit: most events, unless the last call that fits in part has more: a call is placed whole.
        by: who does it, for those who are notified.
    """
    connection.execute(LOCK)
    row = connection.execute(_PLACE, {"limit": limit, "by": by}).one_or_none()
    return row.count if row else 0


_UNPLACED = text("""
    SELECT extract(epoch FROM CAST(:now AS timestamptz) - created_at)
    FROM events WHERE id = (SELECT event FROM unplaced ORDER BY sequence LIMIT 1)
""")


def lag(connection: Connection, now: datetime) -> float:
    """Return for how many seconds the first event waits for its place, 0 where none does.

    Args:
        connection: inside a transaction.
        now: the time.
    """
    seconds = connection.execute(_UNPLACED, {"now": now}).scalar_one_or_none()
    return 0.0 if seconds is None else max(0.0, float(seconds))


class Placed(NamedTuple):
    """An event as subscribers get it: its place, and its serialized message, empty where they must not see it."""

    channel: str
    position: int
    message: bytes


# A reader's memory is bounded however large events are: by octets too, but for the first.
_READ_BYTES = 4 * 1024 * 1024
# Each event is looked up by its id, so that a batch costs the same however many are stored.
_READ = """
    SELECT position, of_contract, id, channel, kind, asset_kind, asset_key, asset, metadata, created_at
    FROM (SELECT position, $OF_CONTRACT AS of_contract, $COLUMNS,
                 sum(octet_length(asset)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) - octet_length(asset)
                     AS before
          FROM (SELECT position, channel, event FROM places
                WHERE position > :position AND $CHANNEL ORDER BY position LIMIT :limit) AS place
          CROSS JOIN LATERAL (
              SELECT id, channel, created_at, kind, asset_kind, asset_key, asset, metadata FROM events
              WHERE id = place.event OFFSET 0
          ) AS events) AS read
    WHERE before < $READ_BYTES ORDER BY position
"""
_PARTS = {"OF_CONTRACT": events.OF_CONTRACT, "COLUMNS": envelopes.COLUMNS, "READ_BYTES": str(_READ_BYTES)}
_READ_ALL = statement(_READ, CHANNEL="true", **_PARTS)
_READ_CHANNELS = statement(_READ, CHANNEL="channel = ANY(CAST(:channels AS text[]))", **_PARTS)


def read_after(
    connection: Connection, position: int, limit: int, channels: Collection[str] | None = None
) -> list[Placed]:
    """Return placed events after a position, in order; those of some channels, or of all.

    Args:
        connection: inside a transaction.
        position: of the last event that the reader has.
        limit: most events; fewer are given where they are large, but at least one if there is one.
        channels: whose events; None for all.
    """
    parameters = {"position": position, "limit": limit}
    if channels is None:
        rows = connection.execute(_READ_ALL, parameters)
    else:
        rows = connection.execute(_READ_CHANNELS, {**parameters, "channels": list(channels)})
    return [Placed(row.channel, row.position, envelopes.serialized(row) if row.of_contract else b"") for row in rows]


@dataclass(frozen=True)
class Own:
    """An event of one of our own kinds: its place, when it was written, the kind, and its serialized message."""

    position: int
    created_at: datetime
    kind: int
    message: bytes


_READ_OWN = text("""
    SELECT position, created_at, asset_kind, asset
    FROM (SELECT position, event FROM places
          WHERE position > :position AND position <= :last AND channel = :channel ORDER BY position) AS place
    CROSS JOIN LATERAL (
        SELECT created_at, asset_kind, asset FROM events WHERE id = place.event OFFSET 0
    ) AS events
    WHERE asset_kind = ANY(CAST(:kinds AS integer[])) ORDER BY position LIMIT :limit
""")


def read_own_after(
    connection: Connection, channel: str, kinds: Collection[int], position: int, last: int, limit: int
) -> list[Own]:
    """Return placed events of some of our own kinds, in order.

    Args:
        connection: inside a transaction.
        channel: whose events.
        kinds: their numbers.
        position: of the last event that the reader has.
        last: position of the last one that is read.
        limit: most events.
    """
    asked = {"channel": channel, "kinds": list(kinds), "position": position, "last": last, "limit": limit}
    return [
        Own(row.position, row.created_at, row.asset_kind, row.asset) for row in connection.execute(_READ_OWN, asked)
    ]


def last_position(connection: Connection) -> int:
    """Return the place of the newest placed event, 0 when there is none."""
    return connection.execute(_LAST).scalar_one()  # type: ignore[no-any-return]


_LAST = text("SELECT coalesce(max(position), 0) FROM places")

_POSITION_OF = text("""
    SELECT places.position FROM events LEFT JOIN places ON places.event = events.id
    WHERE events.id = :id AND events.channel = :channel
""")


def position_of(connection: Connection, channel: str, event: UUID) -> int | None:
    """Return the place of an event, None while it has none.

    Raises:
        NotFoundError: the channel has no such event.
    """
    row = connection.execute(_POSITION_OF, {"id": event, "channel": channel}).one_or_none()
    if row is None:
        raise NotFoundError(f"event {event} does not exist in this channel")
    return row.position  # type: ignore[no-any-return]
