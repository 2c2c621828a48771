"""What was forgotten of the trace, for its age: all events up to a place, month by month.

That they are forgotten is noted first, and holds from then on; the rows go later, see `trace.partitions`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from orchestrator.store.connection import Connection, Row
from orchestrator.trace.event_ids import lowest_id, time_of
from orchestrator.trace.partitions import Month


@dataclass(frozen=True)
class Forgotten:
    """What was forgotten of a channel.

    Args:
        event_id: of the last event that subscribers know: not one of our own kinds, see `trace.events`.
        position: of the last event.
        until: the latest time that a forgotten event bears.
    """

    event_id: UUID
    position: int
    until: datetime


_OF = text("SELECT event_id, position, until FROM forgotten WHERE channel = :channel")


def of(connection: Connection, channel: str) -> Forgotten | None:
    """Return what was forgotten of a channel, None where it is whole."""
    row = connection.execute(_OF, {"channel": channel}).one_or_none()
    return Forgotten(row.event_id, row.position, row.until) if row else None


_LAST = text("SELECT coalesce(max(position), 0) FROM forgotten")


def last(connection: Connection) -> int:
    """Return the place of the last event of any channel that was forgotten, 0 without one."""
    return int(connection.execute(_LAST).scalar_one())


@dataclass(frozen=True)
class Part:
    """Events that may be forgotten together: those after one place, up to another."""

    after: int
    last: int


_OLDEST = text("""
    SELECT id, created_at FROM events
    WHERE id = (SELECT event FROM places WHERE position > :after ORDER BY position LIMIT 1)
""")
# Among the ids of the month, not backwards from the last place of all.
_END = text("""
    SELECT max(position) FROM (SELECT position FROM places WHERE event >= :low AND event < :high OFFSET 0) AS month
""")
# Of what is placed before the end of the month nothing may be young, and something must come later: places go on from
# the last one.
_IN_USE = text("""
    SELECT EXISTS (SELECT FROM unplaced WHERE event >= :low AND event < :high)
        OR EXISTS (SELECT FROM places WHERE event >= :young AND position > :after AND position <= :last)
        OR (SELECT max(position) FROM places) = :last
""")


# The ids of another server say no time: what it has placed lies in no month, and is forgotten a part at a time.
_ADOPTED = text("""
    WITH part AS (SELECT position, created_at
                  FROM (SELECT position, event FROM places WHERE position > :after
                        ORDER BY position LIMIT :most) AS place
                  CROSS JOIN LATERAL (SELECT created_at FROM events WHERE id = place.event OFFSET 0) AS event),
         old AS (SELECT coalesce(min(position) FILTER (WHERE created_at >= :before) - 1, max(position)) AS last
                 FROM part)
    SELECT last FROM old WHERE last > :after AND last < (SELECT max(position) FROM places)
""")
_ADOPTED_AT_ONCE = 100_000
_APART = timedelta(minutes=1)


def next_part(connection: Connection, before: datetime) -> Part | None:
    """Return the oldest month of events that is kept, None where it is not whole, or not all older than a moment.

    Of events that were adopted from another server it is as many as are older, 100,000 at most.
    """
    after = last(connection)
    oldest = connection.execute(_OLDEST, {"after": after}).one_or_none()
    if oldest is None:
        return None
    if abs(time_of(oldest.id) - oldest.created_at) > _APART:
        asked = {"after": after, "before": before, "most": _ADOPTED_AT_ONCE}
        found = connection.execute(_ADOPTED, asked).scalar_one_or_none()
        return None if found is None else Part(after, found)
    month = Month.of(time_of(oldest.id))
    low, high = month.ids
    if month.next.begin > before:
        return None
    end = connection.execute(_END, {"low": low, "high": high}).scalar_one()
    bounds = {"low": low, "high": high, "young": lowest_id(before), "after": after, "last": end}
    return None if connection.execute(_IN_USE, bounds).scalar_one() else Part(after, end)


_ENDS = text("""
    SELECT part.channel, places.event AS event_id, own, part.position, until
    FROM (SELECT place.channel, max(position) AS position, max(created_at) AS until,
                 coalesce(max(position) FILTER (WHERE asset_kind < 100), max(position)) AS known,
                 bool_and(asset_kind >= 100) AS own
          FROM places AS place
          CROSS JOIN LATERAL (SELECT created_at, asset_kind FROM events WHERE id = place.event OFFSET 0) AS event
          WHERE position > :after AND position <= :last GROUP BY place.channel) AS part
    JOIN places ON places.position = part.known
""")


def ends(connection: Connection, part: Part) -> Sequence[Row]:
    """Return of each channel the last event of a part, and the latest time in it; reads the whole part."""
    return connection.execute(_ENDS, {"after": part.after, "last": part.last}).all()


_NOTE = text("""
    INSERT INTO forgotten (channel, event_id, position, until) VALUES (:channel, :event_id, :position, :until)
    ON CONFLICT (channel) DO UPDATE
    SET event_id = CASE WHEN :own THEN forgotten.event_id ELSE excluded.event_id END, position = excluded.position,
        until = greatest(forgotten.until, excluded.until)
    WHERE forgotten.position < excluded.position
""")


def note(connection: Connection, ends: Sequence[Row]) -> None:
    """Forget the events of each channel up to the given ones; none are given where another sweep was quicker."""
    if ends:
        connection.execute(_NOTE, [row._asdict() for row in ends])
