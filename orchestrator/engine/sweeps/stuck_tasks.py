"""Tasks that can never run, since their plan has ended or a parent has failed: they are Cancelled."""

from datetime import datetime
from typing import Protocol

from orchestrator.engine import kinds, plans
from orchestrator.engine.transaction import Database, one_by_one
from orchestrator.store.statements import statement
from orchestrator.store.sweep import Sweep

_STUCK_PLANS = statement("""
    SELECT DISTINCT plans.key, plans.channel, plans.kind = ANY(CAST(:known AS text[])) AS known
    FROM task_states JOIN plans ON plans.key = plan_key
    WHERE plans.key <> ALL(CAST(:failed AS uuid[]))
      AND ((status IN ($NOT_BEGUN) AND ended_at IS NOT NULL)
           OR (status IN ($NOT_DUE)
               AND EXISTS (SELECT FROM edges JOIN task_states AS parents ON parents.key = parent
                           WHERE child = task_states.key AND parents.status IN ($STOPPED))))
    ORDER BY known DESC, plans.key LIMIT :limit
""")


def cancel(database: Database, _: datetime, limit: int) -> int:
    """Cancel tasks that can never run, plan by plan, each in a transaction; return of how many plans."""
    parameters = {"limit": limit, "known": kinds.names()}
    return one_by_one(
        database,
        lambda connection, failed: connection.execute(_STUCK_PLANS, {**parameters, "failed": failed}).all(),
        lambda transaction, row: bool(plans.cancel_stuck(transaction, row.key)),
    )


class Settings(Protocol):
    """What it must be told; see `beat.settings`."""

    stuck_task_period: float
    sweep_batch: int


def make(settings: Settings) -> Sweep:
    """Return the sweep."""
    return Sweep("sweep.stuck_tasks", settings.stuck_task_period, settings.sweep_batch, cancel)
