"""The events of each month lie in a partition: those of the months to come are made in time."""

from datetime import datetime
from typing import Any, Protocol

from orchestrator.store.database import Database
from orchestrator.store.sweep import Sweep
from orchestrator.trace import partitions


def prepare(database: Database[Any], now: datetime, _: int) -> int:
    """Make the partitions that the events of this month and the next three need; return how many were made."""
    return partitions.make(database, now)


class Settings(Protocol):
    """What it must be told; see `beat.settings`."""

    event_partition_period: float
    sweep_batch: int


def make(settings: Settings) -> Sweep:
    """Return the sweep."""
    return Sweep("sweep.event_partitions", settings.event_partition_period, settings.sweep_batch, prepare)
