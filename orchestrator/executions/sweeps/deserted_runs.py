"""Executions that wait for a worker whose queue nobody reads: they fail, where it has been so for long."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from orchestrator.engine.transaction import Database, Transaction, one_by_one
from orchestrator.executions import states
from orchestrator.executions.sweeps import unstarted
from orchestrator.executions.tasks import task_runs
from orchestrator.store.connection import Connection, Row
from orchestrator.store.statements import statement
from orchestrator.store.sweep import Sweep

# What is To do, and what starts together with others as soon as all queues have room.
_FIND = statement(
    """
    WITH run AS (
             SELECT plan, task_runs.channel FROM executions JOIN task_runs ON execution = id
             WHERE executions.status IN ($LIVING) AND updated_at < :before AND plan <> ALL(CAST(:failed AS uuid[]))
         ),
         waiting AS (
             SELECT run.plan, run.channel, tasks.queue FROM run JOIN task_states ON task_states.plan_key = run.plan
             JOIN tasks USING (key)
             WHERE status = $TO_DO AND tasks.queue <> ''
             UNION
             SELECT run.plan, run.channel, gangs.queue FROM run JOIN gangs USING (plan) JOIN task_states ON key = gate
             WHERE status = $TO_DO
         )
    SELECT plan, channel, min(queue) AS queue FROM waiting
    WHERE NOT EXISTS (SELECT FROM nodes WHERE nodes.queue = waiting.queue AND heard_at >= :before)
    GROUP BY plan, channel ORDER BY plan LIMIT :limit
    """,
    LIVING=", ".join(str(int(status)) for status in states.LIVING),
)


def fail(database: Database, now: datetime, limit: int, *, after: timedelta) -> int:
    """Fail them; return how many.

    Args:
        database: where they are.
        now: the time.
        limit: most executions.
        after: how long nobody may read a queue.
    """

    def find(connection: Connection, failed: Sequence[Any]) -> Sequence[Row]:
        return connection.execute(_FIND, {"before": now - after, "failed": list(failed), "limit": limit}).all()

    def repair(transaction: Transaction, row: Row) -> bool:
        reason = f"no worker has read the queue {row.queue} for {after.total_seconds():g} s"
        task_runs.give_up(transaction, row.plan, reason)
        return True

    return one_by_one(database, find, repair)


def make(settings: unstarted.Settings) -> Sweep:
    """Return the sweep."""
    run = partial(fail, after=timedelta(seconds=settings.execution_start_limit))
    return Sweep("sweep.deserted_runs", settings.unstarted_execution_period, settings.sweep_batch, run)
