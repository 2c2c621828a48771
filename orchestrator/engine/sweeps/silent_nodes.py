"""Nodes that were heard last long ago are forgotten: they were renamed, or have gone."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from orchestrator.store.database import Database
from orchestrator.store.statements import statement
from orchestrator.store.sweep import Sweep

_FORGET = statement("""
    DELETE FROM nodes WHERE (channel, organization, name) IN (
        SELECT channel, organization, name FROM nodes
        WHERE heard_at < CAST(:now AS timestamptz) - CAST(:age AS interval)
        ORDER BY heard_at LIMIT :limit FOR UPDATE SKIP LOCKED)
""")


def forget(database: Database[Any], now: datetime, limit: int, *, age: timedelta) -> int:
    """Delete nodes that were heard last long ago; return how many."""
    with database.begin() as connection:
        return connection.execute(_FORGET, {"now": now, "limit": limit, "age": age}).rowcount


class Settings(Protocol):
    """What it must be told; see `beat.settings`."""

    silent_node_period: float
    node_retention: float
    sweep_batch: int


def make(settings: Settings) -> Sweep:
    """Return the sweep."""
    return Sweep(
        "sweep.silent_nodes",
        settings.silent_node_period,
        settings.sweep_batch,
        partial(forget, age=timedelta(seconds=settings.node_retention)),
    )
