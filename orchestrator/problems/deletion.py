"""How problems and iterations are deleted; their numbers are never given again."""

from orchestrator import protos as pb
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import deployments, ids, iterations, told
from orchestrator.problems.errors import StateError
from orchestrator.store.statements import statement

_LOCK = statement("""
    SELECT problem, iteration, ended_at, started_at FROM iterations
    WHERE deployment = :deployment AND problem = :problem ORDER BY iteration FOR UPDATE
""")
_DELETE = statement("""
    WITH gone AS (
             DELETE FROM iterations
             WHERE deployment = :deployment AND problem = :problem AND iteration = ANY(CAST(:numbers AS int[]))
             RETURNING run, iteration
         ),
         stage AS (
             DELETE FROM stages
             WHERE deployment = :deployment AND problem = :problem AND iteration = ANY(CAST(:numbers AS int[]))
         ),
         output AS (
             DELETE FROM stage_outputs
             WHERE deployment = :deployment AND problem = :problem AND iteration = ANY(CAST(:numbers AS int[]))
         )
    SELECT run, iteration FROM gone ORDER BY iteration
""")
_DELETE_PROBLEM = statement("""
    DELETE FROM problems
    WHERE deployment = :deployment AND problem = :problem
      AND NOT EXISTS (SELECT FROM iterations WHERE deployment = :deployment AND problem = :problem)
""")


def problem(transaction: Transaction, deployment: str, problem_id: int) -> None:
    """Delete a problem with all its iterations.

    Raises:
        NotFoundError: there is none.
        StateError: one of them has not ended.
    """
    deployments.enter(transaction, deployment)
    wanted = pb.TaskId(problem_id=problem_id)
    if not 0 < problem_id <= ids.GREATEST:
        raise ids.unknown(wanted)
    found = transaction.connection.execute(_LOCK, {"deployment": deployment, "problem": problem_id}).all()
    transaction.locked()
    if not found:
        raise ids.unknown(wanted)
    for row in found:
        _check(iterations.task_id_of(row), row.ended_at is not None)
    _delete(transaction, deployment, problem_id, [row.iteration for row in found])


def iteration(transaction: Transaction, deployment: str, task_id: pb.TaskId, *, unstarted: bool = False) -> None:
    """Delete an iteration; see `problem`.

    Args:
        transaction: of the caller.
        deployment: whose.
        task_id: which.
        unstarted: whether it may be one that was never started. Clients stop such a one first: it has not ended.
    """
    deployments.enter(transaction, deployment)
    row = iterations.lock(transaction, deployment, task_id)
    _check(task_id, row.ended_at is not None or (unstarted and row.started_at is None))
    _delete(transaction, deployment, task_id.problem_id, [task_id.iteration_id])


def _check(task_id: pb.TaskId, over: bool) -> None:
    if not over:
        raise StateError(f"task {ids.shown(task_id)} has not ended; stop it, and delete it then")


def _delete(transaction: Transaction, deployment: str, problem_id: int, numbers: list[int]) -> None:
    parameters = {"deployment": deployment, "problem": problem_id, "numbers": numbers}
    for row in transaction.connection.execute(_DELETE, parameters).all():
        task_id = pb.TaskId(problem_id=problem_id, iteration_id=row.iteration)
        event = pb.IterationStatusEvent(deployment=deployment, task_id=task_id, run=row.run, deleted=True)
        told.of_task(transaction, event)
    transaction.connection.execute(_DELETE_PROBLEM, {"deployment": deployment, "problem": problem_id})
