"""Events that are old, and that no subscriber needs, are forgotten."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

import structlog

from orchestrator.store.database import Database
from orchestrator.store.sweep import Sweep
from orchestrator.trace import forgotten, partitions, subscriptions

log = structlog.get_logger()


def forget(database: Database[Any], now: datetime, limit: int, *, age: timedelta, away: timedelta) -> int:
    """Forget the months of events that are old and that no subscriber needs, and free their room.

    Args:
        database: where they are.
        now: the time.
        limit: most months, and most places.
        age: how old an event must be.
        away: how long a subscriber that has gone may take to come back.

    Returns:
        How many months were forgotten, places deleted, and partitions dropped, together.
    """
    before, months = now - age, 0
    while months < limit and _forget_month(database, now, before, away):
        months += 1
    with database.begin() as connection:
        last = forgotten.last(connection)
    # A partition is dropped when nothing of it has a place.
    return months + partitions.delete(database, last, limit) + partitions.drop(database, before)


def _forget_month(database: Database[Any], now: datetime, before: datetime, away: timedelta) -> bool:
    with database.begin() as connection:
        part = forgotten.next_part(connection, before)
        if part is None:
            return False
        ends = forgotten.ends(connection, part)
    with database.begin() as connection:
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


class Settings(Protocol):
    """What it must be told; see `beat.settings`."""

    old_event_period: float
    event_retention: float | None
    subscriber_retention: float
    sweep_batch: int


def make(settings: Settings) -> Sweep | None:
    """Return the sweep, None where they are kept for ever."""
    if settings.event_retention is None:
        return None
    return Sweep(
        "sweep.old_events",
        settings.old_event_period,
        settings.sweep_batch,
        partial(
            forget,
            age=timedelta(seconds=settings.event_retention),
            away=timedelta(seconds=settings.subscriber_retention),
        ),
    )
