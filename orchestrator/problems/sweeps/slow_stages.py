"""Stages that run for too long: slow ones are told of, those beyond their hard limit and the grace are ended."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from orchestrator import protos as pb
from orchestrator.engine.retries import FaultKind
from orchestrator.engine.transaction import Database, Transaction, one_by_one
from orchestrator.problems import graph, losing, settings, told
from orchestrator.store.connection import Connection, Row
from orchestrator.store.statements import statement
from orchestrator.store.sweep import Sweep

_RUNNING = """
    SELECT task_key, channel, organization, deployment, stages.kind, attempt
    FROM stages JOIN task_states ON key = task_key JOIN deployments ON deployments.name = deployment
    JOIN unnest(CAST(:kinds AS smallint[]), CAST(:limits AS float8[])) AS allowed (kind, seconds)
         ON allowed.kind = stages.kind
    WHERE ended_as IS NULL AND status = $DOING AND task_key <> ALL(CAST(:failed AS uuid[]))
      AND started_at < CAST(:now AS timestamptz) - make_interval(secs => seconds) AND $WHICH
    ORDER BY started_at LIMIT :limit
"""
_SLOW = statement(_RUNNING, WHICH="slow_at IS NULL")
# A module that was not heard since may be lost, or have done it in time; none is heard while the orchestrator is away.
_OVER = statement(
    _RUNNING,
    WHICH="""
        CAST(:now AS timestamptz) - make_interval(secs => :grace)
            > greatest(started_at + make_interval(secs => seconds), (SELECT served_since FROM service))
        AND EXISTS (SELECT FROM modules
                    WHERE (modules.deployment, modules.kind, modules.name) = (stages.deployment, stages.kind, replica)
                      AND heard_at >= started_at + make_interval(secs => seconds))
    """,
)


def find(database: Database, now: datetime, limit: int) -> int:
    """Tell of slow stages, and end those that were told to stop by now; return how many of both.

    A module stops what is beyond its hard limit by itself, after a grace; what a module that is heard has not stopped
    after twice that is ended here. The twice begins anew where the orchestrator was away.
    """
    said = settings.current()
    soft = {kind: said.soft_limit(kind) for kind in graph.KINDS}
    hard = {kind: said.hard_limit(kind) for kind in graph.KINDS}

    def running(query: Any, limits: dict[int, float], connection: Connection, failed: Sequence[Any]) -> Sequence[Row]:
        parameters = {"kinds": list(limits), "limits": list(limits.values()), "grace": 2 * said.problems_grace}
        found = connection.execute(query, {**parameters, "now": now, "limit": limit, "failed": list(failed)})
        return list(found)

    ended = one_by_one(database, partial(running, _OVER, hard), _end)
    return ended + one_by_one(database, partial(running, _SLOW, soft), _mark)


def _end(transaction: Transaction, row: Row) -> bool:
    seconds = settings.current().hard_limit(row.kind)
    message = f"it ran longer than its limit of {seconds:g} s, and did not stop"
    return losing.lose(transaction, row.task_key, row.attempt, FaultKind.TIMEOUT, message)


_MARK = statement("""
    UPDATE stages SET slow_at = :now FROM task_states
    WHERE task_key = :key AND task_states.key = task_key AND attempt = :attempt AND slow_at IS NULL
      AND ended_as IS NULL AND status = $DOING
    RETURNING deployment, problem, iteration, run, stages.kind, attempt, replica, started_at
""")


def _mark(transaction: Transaction, row: Row) -> bool:
    parameters = {"key": row.task_key, "attempt": row.attempt, "now": transaction.now}
    marked = transaction.connection.execute(_MARK, parameters).one_or_none()
    if marked is None:
        return False
    event = pb.StageSlowEvent(
        deployment=marked.deployment,
        task_id=pb.TaskId(problem_id=marked.problem, iteration_id=marked.iteration),
        run=marked.run,
        kind=marked.kind,
        attempt=marked.attempt,
        replica=marked.replica or "",
    )
    told.stamp(event.since, marked.started_at)
    told.of_task(transaction, event)
    return True


class Settings(Protocol):
    """What it must be told; see `beat.settings`."""

    slow_stage_period: float
    sweep_batch: int


def make(settings: Settings) -> Sweep:
    """Return the sweep."""
    return Sweep("sweep.slow_stages", settings.slow_stage_period, settings.sweep_batch, find)
