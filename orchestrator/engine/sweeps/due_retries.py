"""Tasks whose pause before the next attempt is over: their queue is poked."""

from datetime import datetime
from typing import Any, Protocol

from orchestrator.core.pokes import RUN_TASK
from orchestrator.engine import outbox
from orchestrator.store.database import Database
from orchestrator.store.statements import statement
from orchestrator.store.sweep import Sweep

_DUE = statement(
    """
    WITH due AS (
             SELECT key FROM task_states WHERE status = $TO_DO AND due_at <= :now
             ORDER BY due_at LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
         ),
         again AS (
             UPDATE task_states SET due_at = NULL, poked_at = :now, pokes = 0
             FROM due JOIN tasks USING (key) WHERE task_states.key = due.key
             RETURNING queue, priority, tasks.key, attempts
         ),
         $POKE
    SELECT count(*), pg_notify('orchestrator_written', '') FROM again HAVING count(*) > 0
    """,
    POKE=outbox.written("""
        SELECT '$RUN_TASK', queue, priority, key, attempts + 1, CAST(:now AS timestamptz), CAST(NULL AS text)
        FROM again
    """),
    RUN_TASK=RUN_TASK,
)


def poke(database: Database[Any], now: datetime, limit: int) -> int:
    """Poke for tasks whose pause before the next attempt is over; return how many."""
    with database.begin() as connection:
        row = connection.execute(_DUE, {"now": now, "limit": limit}).one_or_none()
    return int(row[0]) if row else 0


class Settings(Protocol):
    """What it must be told; see `beat.settings`."""

    due_retry_period: float
    sweep_batch: int


def make(settings: Settings) -> Sweep:
    """Return the sweep."""
    return Sweep("sweep.due_retries", settings.due_retry_period, settings.sweep_batch, poke)
