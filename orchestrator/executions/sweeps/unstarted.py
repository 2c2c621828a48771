"""Executions that wait to be started for too long: no runtime is there, or none reaches Argo."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from orchestrator.engine.transaction import Database, Transaction, one_by_one
from orchestrator.executions import states
from orchestrator.executions.runtimes import runs, starting
from orchestrator.store.connection import Connection, Row
from orchestrator.store.statements import statement
from orchestrator.store.sweep import Sweep

_FIND = statement(
    """
    SELECT executions.id, executions.channel FROM executions JOIN execution_runs ON execution = id
    WHERE executions.status = $PENDING AND created_at < :before AND implementation = '$ARGO' AND workflow IS NULL
      AND executions.id <> ALL(CAST(:failed AS bigint[]))
    ORDER BY created_at LIMIT :limit
    """,
    PENDING=str(int(states.PENDING)),
    ARGO=runs.ARGO,
)


def fail(database: Database, now: datetime, limit: int, *, after: timedelta) -> int:
    """Fail executions that nobody has started; return how many.

    Args:
        database: where they are.
        now: the time.
        limit: most of them.
        after: how long they may wait.
    """
    reason = (
        f"it was not started within {after.total_seconds():g} s: either no `orchestrator runtime` runs, or it does not "
        "reach Argo or Kafka; its log says"
    )

    def find(connection: Connection, failed: Sequence[Any]) -> Sequence[Row]:
        return connection.execute(_FIND, {"before": now - after, "failed": list(failed), "limit": limit}).all()

    def repair(transaction: Transaction, row: Row) -> bool:
        return starting.expire(transaction, row.id, reason)

    return one_by_one(database, find, repair)


class Settings(Protocol):
    """What it must be told; see `beat.settings`."""

    unstarted_execution_period: float
    execution_start_limit: float
    sweep_batch: int


def make(settings: Settings) -> Sweep:
    """Return the sweep."""
    run = partial(fail, after=timedelta(seconds=settings.execution_start_limit))
    return Sweep("sweep.unstarted_executions", settings.unstarted_execution_period, settings.sweep_batch, run)
