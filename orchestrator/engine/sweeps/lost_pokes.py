"""Tasks To do and functions to build whose poke was lost are poked again: the broker was flushed, or a worker died.

The pause between two pokes doubles each time, up to an hour. An organization whose nodes are all silent is not poked
again before one is heard, so that its queue does not fill; then all that is due is poked at once.
"""

from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from sqlalchemy import text

from orchestrator.store.database import Database
from orchestrator.store.sweep import Sweep

# The last poke was sent before somebody came (back) to read the queue; or it is older than an age that doubles with
# each, up to an hour, and somebody reads, or nobody can tell. One that still waits for the broker is not lost.
_DUE = """
    (poked_at < since
     OR (poked_at <= CAST(:now AS timestamptz) - least(CAST(:age AS interval) * power(2, pokes), interval '1 hour')
         AND (heard_at IS NULL OR heard_at > CAST(:now AS timestamptz) - CAST(:silence AS interval))))
    AND NOT EXISTS (SELECT FROM outbox WHERE asset_key = key AND sent_at IS NULL)
    ORDER BY poked_at LIMIT :limit
"""
_POKED = "poked_at = :now, pokes = CASE WHEN returned THEN 0 ELSE least(pokes + 1, 20) END"
_REPEAT = text(f"""
    WITH lost_task AS (
             SELECT key, coalesce(poked_at < since, false) AS returned
             FROM tasks LEFT JOIN queues ON queues.organization = worker
             WHERE status = 2 AND {_DUE} FOR NO KEY UPDATE OF tasks SKIP LOCKED
         ),
         lost_function AS (
             SELECT key, coalesce(poked_at < since, false) AS returned
             FROM functions LEFT JOIN queues ON queues.organization = owner
             WHERE status IN (1, 2) AND {_DUE} FOR NO KEY UPDATE OF functions SKIP LOCKED
         ),
         task AS (
             UPDATE tasks SET {_POKED} FROM lost_task WHERE tasks.key = lost_task.key
             RETURNING 'task' AS kind, worker AS organization, tasks.key, attempts + 1 AS attempt
         ),
         function AS (
             UPDATE functions SET {_POKED} FROM lost_function WHERE functions.key = lost_function.key
             RETURNING 'function', owner, functions.key, 1
         ),
         poke AS (
             INSERT INTO outbox (kind, organization, asset_key, attempt, created_at)
             SELECT kind, organization, key, attempt, CAST(:now AS timestamptz)
             FROM (TABLE task UNION ALL TABLE function) AS lost
             RETURNING id
         )
    SELECT count(*), pg_notify('orchestrator_written', '') FROM poke HAVING count(*) > 0
""")  # noqa: S608 - what is put in are the constants above


def repeat(database: Database[Any], now: datetime, limit: int, *, age: timedelta) -> int:
    """Write a new poke for tasks To do and functions not built whose last one was lost; return how many.

    One was sent before the organization's first node came, or came back after a silence; another is too old, unless
    the organization's nodes are silent. One that has never had a node may have workers that send no heartbeats.

    Args:
        database: where they are.
        now: the time.
        limit: most tasks, and most functions.
        age: of the first poke; the age that counts as too old doubles with each poke, up to an hour.
    """
    parameters = {"now": now, "age": age, "limit": limit, "silence": database.rules.silence}
    with database.begin() as connection:
        row = connection.execute(_REPEAT, parameters).one_or_none()
    return int(row[0]) if row else 0


class Settings(Protocol):
    """What it must be told; see `beat.settings`."""

    lost_poke_period: float
    lost_poke_age: float
    sweep_batch: int


def make(settings: Settings) -> Sweep:
    """Return the sweep."""
    return Sweep(
        "sweep.lost_pokes",
        settings.lost_poke_period,
        settings.sweep_batch,
        partial(repeat, age=timedelta(seconds=settings.lost_poke_age)),
    )
