"""What is old of problems: tasks never started, iterations beyond their age, modules that went, old answers."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from orchestrator import protos as pb
from orchestrator.engine.transaction import Database, Transaction, one_by_one
from orchestrator.problems import deletion, settings
from orchestrator.problems.errors import StateError
from orchestrator.store.connection import Connection, Row
from orchestrator.store.statements import statement
from orchestrator.store.sweep import Sweep

_FIND = statement("""
    SELECT sequence, channel, organization, deployment, problem, iteration
    FROM iterations JOIN deployments ON deployments.name = deployment
    WHERE sequence <> ALL(CAST(:failed AS bigint[]))
      AND ((started_at IS NULL AND iterations.created_at < :prepared)
           OR ended_at < CAST(:ended AS timestamptz))
    ORDER BY sequence LIMIT :limit
""")
_FORGET = statement("""
    DELETE FROM configuration_requests WHERE (deployment, transaction_id) IN (
        SELECT deployment, transaction_id FROM configuration_requests
        WHERE deadline_at < CAST(:now AS timestamptz) - interval '1 hour'
        ORDER BY deadline_at LIMIT :limit FOR UPDATE SKIP LOCKED)
""")
_FORGET_MODULES = statement("""
    DELETE FROM modules WHERE (deployment, kind, name) IN (
        SELECT deployment, kind, name FROM modules
        WHERE told = 0 AND heard_at < CAST(:now AS timestamptz) - CAST(:age AS interval) AND NOT (stopped OR set_aside)
        ORDER BY heard_at LIMIT :limit FOR UPDATE SKIP LOCKED)
""")


def forget(
    database: Database,
    now: datetime,
    limit: int,
    *,
    age: timedelta | None,
    module_age: timedelta = timedelta(days=7),
) -> int:
    """Delete what is too old; return how many iterations, modules and answers.

    Args:
        database: where they are.
        now: the time.
        limit: most of each.
        age: how long an iteration is kept after it has ended, None for ever.
        module_age: how long a module is shown that is not heard; one that a command stopped is never forgotten.
    """
    prepared = now - timedelta(seconds=settings.current().problems_prepared_age)
    ended = None if age is None else now - age

    def find(connection: Connection, failed: Sequence[Any]) -> Sequence[Row]:
        parameters = {"prepared": prepared, "ended": ended, "limit": limit, "failed": list(failed)}
        return connection.execute(_FIND, parameters).all()

    with database.begin() as connection:
        answers = connection.execute(_FORGET, {"now": now, "limit": limit}).rowcount
        parameters = {"now": now, "limit": limit, "age": module_age}
        gone = connection.execute(_FORGET_MODULES, parameters).rowcount
    return answers + gone + one_by_one(database, find, _delete)


def _delete(transaction: Transaction, row: Row) -> bool:
    task_id = pb.TaskId(problem_id=row.problem, iteration_id=row.iteration)
    try:
        deletion.iteration(transaction, row.deployment, task_id, unstarted=True)
    except StateError:
        # It was started meanwhile.
        return False
    return True


class Settings(Protocol):
    """What it must be told; see `beat.settings`."""

    old_problem_period: float
    problem_retention: float | None
    node_retention: float
    sweep_batch: int


def make(settings: Settings) -> Sweep:
    """Return the sweep."""
    age = None if settings.problem_retention is None else timedelta(seconds=settings.problem_retention)
    run = partial(forget, age=age, module_age=timedelta(seconds=settings.node_retention))
    return Sweep("sweep.old_problems", settings.old_problem_period, settings.sweep_batch, run)
