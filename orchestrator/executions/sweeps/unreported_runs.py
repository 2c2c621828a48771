"""Executions whose containers have all ended well, and of which nobody has reported: they have failed."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from orchestrator.engine.transaction import Database, one_by_one
from orchestrator.executions.tasks import task_runs
from orchestrator.store.connection import Connection, Row
from orchestrator.store.statements import statement
from orchestrator.store.sweep import Sweep

_FIND = statement("""
    SELECT plan, channel FROM task_runs
    WHERE over_at < CAST(:now AS timestamptz) - CAST(:age AS interval) AND plan <> ALL(CAST(:failed AS uuid[]))
    ORDER BY over_at LIMIT :limit
""")


def fail(database: Database, now: datetime, limit: int, *, age: timedelta) -> int:
    """Fail them; return how many.

    Args:
        database: where they are.
        now: the time.
        limit: most runs.
        age: how long a report may take after the last container has ended.
    """

    def find(connection: Connection, failed: Sequence[Any]) -> Sequence[Row]:
        return connection.execute(_FIND, {"now": now, "age": age, "limit": limit, "failed": failed}).all()

    return one_by_one(database, find, lambda transaction, row: task_runs.fail_unreported(transaction, row.plan))


class Settings(Protocol):
    """What it must be told; see `beat.settings`."""

    unreported_run_period: float
    unreported_run_age: float
    sweep_batch: int


def make(settings: Settings) -> Sweep:
    """Return the sweep."""
    run = partial(fail, age=timedelta(seconds=settings.unreported_run_age))
    return Sweep("sweep.unreported_runs", settings.unreported_run_period, settings.sweep_batch, run)
