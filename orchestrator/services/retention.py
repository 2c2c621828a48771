"""What is forgotten for its age, and the room for what comes: bounded, and harmless when two do it at once."""

from datetime import datetime, timedelta

import structlog

from orchestrator.store import forgotten, partitions, repairs, subscriptions
from orchestrator.store.database import Database

log = structlog.get_logger()


def make_partitions(database: Database, now: datetime, _: int) -> int:
    """Make the partitions that the events of this month and the next three need; return how many were made."""
    return partitions.make(database, now)


def forget_events(database: Database, now: datetime, limit: int, *, age: timedelta, away: timedelta) -> int:
    """Forget the months of events that are old and that no subscriber needs, and free their room.

    Args:
        database: where they are.
        now: the time.
        limit: most months, and most events that lie in no month's partition.
        age: how old an event must be.
        away: how long a subscriber that has gone may take to come back.

    Returns:
        How many months were forgotten, partitions dropped, and events deleted, together.
    """
    before, months = now - age, 0
    while months < limit and _forget_month(database, now, before, away):
        months += 1
    with database.engine.begin() as connection:
        last = forgotten.last(connection)
    return months + partitions.drop(database, before, last) + partitions.delete(database, last, limit)


def _forget_month(database: Database, now: datetime, before: datetime, away: timedelta) -> bool:
    with database.engine.begin() as connection:
        part = forgotten.next_part(connection, before)
        if part is None:
            return False
        ends = forgotten.ends(connection, part)
    with database.engine.begin() as connection:
        subscriptions.hold(connection)
        behind = subscriptions.farthest_behind(connection, now, away)
        if behind is not None and behind.position < part.last:
            log.info(
                "retention.held",
                channel=behind.channel,
                organization=behind.organization,
                position=behind.position,
                needed=part.last,
                seen_at=behind.seen_at.isoformat(),
            )
            return False
        forgotten.note(connection, ends)
    log.info("retention.forgotten", last_position=part.last)
    return True


def forget_attempts(database: Database, now: datetime, limit: int, *, age: timedelta, deadline: timedelta) -> int:
    """Forget the attempts of tasks that ended long ago, all of a task together; return of how many tasks.

    Args:
        database: where they are.
        now: the time.
        limit: most tasks.
        age: how long ago the last attempt must have ended.
        deadline: how long a node is asked to stop an attempt; one that has not answered yet is kept until then.
    """
    with database.engine.begin() as connection:
        return repairs.forget_attempts(connection, now, limit, age, deadline)


def forget_subscriptions(database: Database, now: datetime, limit: int, *, age: timedelta) -> int:
    """Forget event streams that ended long ago; return how many."""
    with database.engine.begin() as connection:
        return subscriptions.forget(connection, now, limit, age)
