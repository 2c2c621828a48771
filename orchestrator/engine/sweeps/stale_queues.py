"""Queues that nobody has read for a long time are emptied: their nodes have gone, or are away."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from orchestrator.engine.outbox import PURGE, written
from orchestrator.store.database import Database
from orchestrator.store.statements import statement
from orchestrator.store.sweep import Sweep

_EMPTY = statement(
    """
    WITH stale AS (
             SELECT name FROM queues
             WHERE heard_at < CAST(:now AS timestamptz) - CAST(:age AS interval)
               AND (emptied_at IS NULL OR emptied_at < CAST(:now AS timestamptz) - CAST(:age AS interval))
               AND NOT EXISTS (SELECT FROM unsent_pokes WHERE unsent_pokes.queue = queues.name AND message = '$PURGE')
             ORDER BY name LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
         ),
         emptied AS (UPDATE queues SET emptied_at = :now FROM stale WHERE queues.name = stale.name),
         $POKE
    SELECT count(*), pg_notify('orchestrator_written', '') FROM stale HAVING count(*) > 0
    """,
    POKE=written("""
        SELECT '$PURGE', name, CAST(0 AS smallint), CAST('00000000-0000-0000-0000-000000000000' AS uuid), 0,
               CAST(:now AS timestamptz), CAST(NULL AS text)
        FROM stale
    """),
    PURGE=PURGE,
)


def empty(database: Database[Any], now: datetime, limit: int, *, age: timedelta) -> int:
    """Have the queues emptied whose last node has been silent for so long; return how many.

    Nothing is lost by it: when a node is heard again, all that is due is poked again.

    Args:
        database: where they are.
        now: the time.
        limit: most queues.
        age: how long nobody was heard, and how long ago the queue was emptied last.
    """
    with database.begin() as connection:
        row = connection.execute(_EMPTY, {"now": now, "limit": limit, "age": age}).one_or_none()
    return int(row[0]) if row else 0


class Settings(Protocol):
    """What it must be told; see `beat.settings`."""

    stale_queue_period: float
    queue_retention: float
    sweep_batch: int


def make(settings: Settings) -> Sweep:
    """Return the sweep."""
    return Sweep(
        "sweep.stale_queues",
        settings.stale_queue_period,
        settings.sweep_batch,
        partial(empty, age=timedelta(seconds=settings.queue_retention)),
    )
