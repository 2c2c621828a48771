"""Attempts of tasks that ended long ago are forgotten."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from orchestrator.engine.attempts import UNACKNOWLEDGED
from orchestrator.store.database import Database
from orchestrator.store.statements import statement
from orchestrator.store.sweep import Sweep

# A stop that was not acknowledged is kept for the receipt, see `unacknowledged_stops`.
_FORGET = statement(
    """
    WITH old AS (
             SELECT key FROM attempts AS latest
             JOIN task_states ON key = latest.task_key AND task_states.attempts = latest.number
             WHERE latest.claimed_at < CAST(:now AS timestamptz) - CAST(:age AS interval)
               AND latest.ended_at < CAST(:now AS timestamptz) - CAST(:age AS interval)
               AND status IN ($ENDED)
               AND NOT EXISTS (
                   SELECT FROM attempts AS one WHERE one.task_key = key AND $UNACKNOWLEDGED
                     AND one.ended_at > CAST(:now AS timestamptz) - CAST(:deadline AS interval))
             ORDER BY latest.claimed_at LIMIT :limit FOR UPDATE SKIP LOCKED
         ),
         gone AS (DELETE FROM attempts USING old WHERE task_key = key)
    SELECT count(*) FROM old
    """,
    UNACKNOWLEDGED=UNACKNOWLEDGED,
)


def forget(database: Database[Any], now: datetime, limit: int, *, age: timedelta, deadline: timedelta) -> int:
    """Forget the attempts of tasks that ended long ago, all of a task together; return of how many tasks.

    Args:
        database: where they are.
        now: the time.
        limit: most tasks.
        age: how long ago the last attempt must have ended.
        deadline: how long a node is asked to stop an attempt; one that has not answered yet is kept until then.
    """
    parameters = {"now": now, "limit": limit, "age": age, "deadline": deadline}
    with database.begin() as connection:
        return int(connection.execute(_FORGET, parameters).scalar_one())


class Settings(Protocol):
    """What it must be told; see `beat.settings`."""

    old_attempt_period: float
    attempt_retention: float | None
    stop_deadline: float
    sweep_batch: int


def make(settings: Settings) -> Sweep | None:
    """Return the sweep, None where they are kept for ever."""
    if settings.attempt_retention is None:
        return None
    return Sweep(
        "sweep.old_attempts",
        settings.old_attempt_period,
        settings.sweep_batch,
        partial(
            forget,
            age=timedelta(seconds=settings.attempt_retention),
            deadline=timedelta(seconds=settings.stop_deadline),
        ),
    )
