"""Iterations that take longer than their limit: what runs of them, or waits first, has failed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from orchestrator import protos as pb
from orchestrator.engine.transaction import Database, Transaction, one_by_one
from orchestrator.problems import stopping
from orchestrator.store.connection import Connection, Row
from orchestrator.store.statements import statement
from orchestrator.store.sweep import Sweep

_FIND = statement("""
    SELECT sequence, channel, organization, deployment, problem, iteration
    FROM iterations JOIN deployments ON deployments.name = deployment
    WHERE ended_at IS NULL AND deadline_at < :now AND sequence <> ALL(CAST(:failed AS bigint[]))
    ORDER BY deadline_at LIMIT :limit
""")


def expire(database: Database, now: datetime, limit: int) -> int:
    """End iterations that have taken too long; return how many."""

    def find(connection: Connection, failed: Sequence[Any]) -> Sequence[Row]:
        return connection.execute(_FIND, {"now": now, "limit": limit, "failed": list(failed)}).all()

    def repair(transaction: Transaction, row: Row) -> bool:
        task_id = pb.TaskId(problem_id=row.problem, iteration_id=row.iteration)
        return stopping.expire(transaction, row.deployment, task_id, now)

    return one_by_one(database, find, repair)


class Settings(Protocol):
    """What it must be told; see `beat.settings`."""

    late_iteration_period: float
    sweep_batch: int


def make(settings: Settings) -> Sweep:
    """Return the sweep."""
    return Sweep("sweep.late_iterations", settings.late_iteration_period, settings.sweep_batch, expire)
