"""Plans, tasks, queues and ended attempts are counted, for metrics."""

from datetime import datetime
from typing import Any, Protocol

from orchestrator.engine import totals
from orchestrator.store.database import Database
from orchestrator.store.sweep import Sweep


def count(database: Database[Any], now: datetime, _: int) -> int:
    """Count; return 0, since nothing is repaired by it."""
    with database.begin() as connection:
        totals.count(connection, now)
    return 0


class Settings(Protocol):
    """What it must be told; see `beat.settings`."""

    totals_period: float
    sweep_batch: int


def make(settings: Settings) -> Sweep:
    """Return the sweep."""
    return Sweep("sweep.totals", settings.totals_period, settings.sweep_batch, count)
