"""The partitions of the events: one for each month (UTC), since an event's id begins with its time.

What has no month of its own lies in the default partition, so that no event is ever refused. Making and dropping a
partition needs the events alone for a moment. While it waits for that, all who come later wait behind it: it gives up
soon, and is tried again at the next run.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from psycopg import errors as postgres
from sqlalchemy import text

from orchestrator.store.connection import Connection
from orchestrator.store.database import Database
from orchestrator.trace.event_ids import lowest_id, time_of

log = structlog.get_logger()

_AHEAD = 3
_BOUND = re.compile(r"FROM \((?:MINVALUE|'(?P<low>[0-9a-f-]+)')\) TO \('(?P<high>[0-9a-f-]+)'\)")
_LOWEST = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Month:
    """A month of the calendar (UTC).

    Args:
        begin: its first moment.
    """

    begin: datetime

    @classmethod
    def of(cls, moment: datetime) -> "Month":
        """Return the month of a moment."""
        return cls(moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0))

    @property
    def next(self) -> "Month":
        """The month after it."""
        return Month.of(self.begin + timedelta(days=31))

    @property
    def ids(self) -> tuple[UUID, UUID]:
        """The ids of its events: from the first, up to but without the second."""
        return lowest_id(self.begin), lowest_id(self.next.begin)


@dataclass(frozen=True)
class _Partition:
    """A partition of events from one moment up to another, exclusive."""

    name: str
    begin: datetime
    end: datetime


_LIST = text("""
    SELECT relname AS name, pg_get_expr(relpartbound, pg_class.oid) AS bound
    FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
    WHERE inhparent = CAST('events' AS regclass)
""")


def _partitions(connection: Connection) -> list[_Partition]:
    """Return all partitions but the default one, the oldest first."""
    found = []
    for row in connection.execute(_LIST):
        # One that another sweep drops just now has no bounds any more.
        if row.bound and (bound := _BOUND.search(row.bound)):
            begin = time_of(UUID(bound["low"])) if bound["low"] else _LOWEST
            found.append(_Partition(row.name, begin, time_of(UUID(bound["high"]))))
    return sorted(found, key=lambda partition: partition.begin)


# Functions of the tables' owner: who runs the sweeps has no right to make or drop tables.
_PATIENCE = text("SET LOCAL lock_timeout = '1s'")
_HOLD = text("SELECT events_hold()")


def _alone(database: Database[Any], change: Callable[[Connection], int]) -> int:
    """Make a change in a transaction that has the events for itself; return its count, 0 where others hold them."""
    with database.begin() as connection:
        try:
            connection.execute(_PATIENCE)
            connection.execute(_HOLD)
            return change(connection)
        except postgres.LockNotAvailable:
            # No fault of the database: nothing was changed, and nobody is to be told of one.
            connection.rollback()
    log.warning("partitions.busy", hint="other transactions hold the events; it is tried again at the next run")
    return 0


def make(database: Database[Any], now: datetime) -> int:
    """Make the partitions of this month and the next three; return how many were made.

    A month of which events lie in the default partition gets none: they would have to move.
    """
    with database.begin() as connection:
        missing = _missing(connection, now)
    return _alone(database, lambda connection: _make(connection, now)) if missing else 0


def _make(connection: Connection, now: datetime) -> int:
    # Looked at again, now that nobody else makes them, or writes.
    missing = _missing(connection, now)
    for month in missing:
        low, high = month.ids
        connection.execute(_MAKE, {"name": f"events_{month.begin:%Y_%m}", "low": low, "high": high})
    return len(missing)


_MAKE = text("SELECT events_make(:name, :low, :high)")
_DROP = text("SELECT events_drop(:name)")
_IN_DEFAULT = text("SELECT EXISTS (SELECT FROM events_default WHERE id >= :low AND id < :high)")


def _missing(connection: Connection, now: datetime) -> list[Month]:
    partitions = _partitions(connection)
    month, missing = Month.of(now), []
    for _ in range(_AHEAD + 1):
        low, high = month.ids
        covered = any(each.begin < month.next.begin and month.begin < each.end for each in partitions)
        if not covered and not connection.execute(_IN_DEFAULT, {"low": low, "high": high}).scalar_one():
            missing.append(month)
        month = month.next
    return missing


def drop(database: Database[Any], before: datetime) -> int:
    """Drop the partitions none of whose events has a place any more, or is to get one; return how many.

    Args:
        database: where they are.
        before: only those of earlier times.
    """
    with database.begin() as connection:
        found = _done_with(connection, before)
    return _alone(database, lambda connection: _drop(connection, before)) if found else 0


def _drop(connection: Connection, before: datetime) -> int:
    # Looked at again, now that nobody writes.
    found = _done_with(connection, before)
    for partition in found:
        connection.execute(_DROP, {"name": partition.name})
        log.info("partitions.dropped", partition=partition.name, events_before=partition.end.isoformat())
    return len(found)


_IN_USE = text("""
    SELECT EXISTS (SELECT FROM unplaced WHERE event >= :low AND event < :high)
        OR EXISTS (SELECT FROM places WHERE event >= :low AND event < :high)
""")


def _done_with(connection: Connection, before: datetime) -> list[_Partition]:
    def in_use(partition: _Partition) -> bool:
        bounds = {"low": lowest_id(partition.begin), "high": lowest_id(partition.end)}
        return bool(connection.execute(_IN_USE, bounds).scalar_one())

    return [partition for partition in _partitions(connection) if partition.end <= before and not in_use(partition)]


_DELETE = text("""
    WITH gone AS (
             DELETE FROM places
             WHERE ctid = ANY (ARRAY(SELECT ctid FROM places WHERE position <= :position ORDER BY position LIMIT :limit
                                     FOR UPDATE SKIP LOCKED))
             RETURNING event
         ),
         event AS (DELETE FROM events_default USING gone WHERE id = event)
    SELECT count(*) FROM gone
""")


def delete(database: Database[Any], position: int, limit: int) -> int:
    """Delete places of forgotten events, and those of the events that lie in the default partition; return how many.

    Args:
        database: where they are.
        position: of the last event that was forgotten.
        limit: most places.
    """
    with database.begin() as connection:
        return int(connection.execute(_DELETE, {"position": position, "limit": limit}).scalar_one())
