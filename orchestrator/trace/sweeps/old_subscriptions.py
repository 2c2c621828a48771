"""Event streams that ended long ago are forgotten: their subscribers did not come back in time."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from sqlalchemy import text

from orchestrator.store.database import Database
from orchestrator.store.sweep import Sweep

_FORGET = text("""
    DELETE FROM subscriptions WHERE id IN (
        SELECT id FROM subscriptions WHERE seen_at < CAST(:now AS timestamptz) - CAST(:age AS interval)
        ORDER BY seen_at LIMIT :limit FOR UPDATE SKIP LOCKED)
""")


def forget(database: Database[Any], now: datetime, limit: int, *, age: timedelta) -> int:
    """Forget event streams that ended long ago; return how many."""
    with database.begin() as connection:
        return connection.execute(_FORGET, {"now": now, "limit": limit, "age": age}).rowcount


class Settings(Protocol):
    """What it must be told; see `beat.settings`."""

    old_subscription_period: float
    subscriber_retention: float
    sweep_batch: int


def make(settings: Settings) -> Sweep:
    """Return the sweep."""
    return Sweep(
        "sweep.old_subscriptions",
        settings.old_subscription_period,
        settings.sweep_batch,
        partial(forget, age=timedelta(seconds=settings.subscriber_retention)),
    )
