"""Pokes that were sent long ago are forgotten, but for those of tasks that wait to be claimed."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from orchestrator.core.pokes import RUN_TASK
from orchestrator.store.database import Database
from orchestrator.store.statements import statement
from orchestrator.store.sweep import Sweep

# One that is due is all that says that its task is to be poked for (`engine.sweeps.lost_pokes`).
_FORGET = statement(
    """
    DELETE FROM outbox WHERE id IN (
        SELECT id FROM outbox WHERE sent_at < CAST(:now AS timestamptz) - CAST(:age AS interval)
           AND NOT EXISTS (SELECT FROM task_states
                           WHERE message = '$RUN_TASK' AND task_states.key = outbox.key
                             AND status = $TO_DO AND attempts + 1 = attempt)
        ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED)
    """,
    RUN_TASK=RUN_TASK,
)
# The relay does so too, where it sends more.
_SETTLE = statement("""
    DELETE FROM sent_pokes WHERE ctid IN (
        SELECT out.ctid FROM sent_pokes AS out JOIN task_states ON task_states.key = out.key
        WHERE NOT (status = $TO_DO AND attempts + 1 = attempt) FOR UPDATE OF out SKIP LOCKED)
""")


def forget(database: Database[Any], now: datetime, limit: int, *, age: timedelta) -> int:
    """Delete pokes that were sent long ago; return how many."""
    with database.begin() as connection:
        connection.execute(_SETTLE)
        return connection.execute(_FORGET, {"now": now, "limit": limit, "age": age}).rowcount


class Settings(Protocol):
    """What it must be told; see `beat.settings`."""

    old_poke_period: float
    poke_retention: float
    sweep_batch: int


def make(settings: Settings) -> Sweep:
    """Return the sweep."""
    return Sweep(
        "sweep.old_pokes",
        settings.old_poke_period,
        settings.sweep_batch,
        partial(forget, age=timedelta(seconds=settings.poke_retention)),
    )
