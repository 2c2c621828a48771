"""Lists: problems with the state of their latest iteration, the iterations of one, and the ids of all tasks."""

from collections.abc import Sequence

from orchestrator import protos as pb
from orchestrator.core.errors import NotFoundError
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import deployments, ids, told
from orchestrator.problems import iterations as rows
from orchestrator.store.connection import Row
from orchestrator.store.statements import statement

_PROBLEMS = """
    SELECT problems.problem, problems.created_at, latest.user_input, latest.state, latest.iteration,
           (SELECT count(*) FROM iterations
            WHERE iterations.deployment = problems.deployment AND iterations.problem = problems.problem) AS count
    FROM problems
    CROSS JOIN LATERAL (SELECT user_input, state, iteration FROM iterations
                        WHERE iterations.deployment = problems.deployment AND iterations.problem = problems.problem
                        ORDER BY iteration DESC LIMIT 1) AS latest
    WHERE problems.deployment = :deployment AND $WHICH
    ORDER BY problems.problem DESC LIMIT :limit
"""
_PAGE = statement(_PROBLEMS, WHICH="problems.problem < :before")
_ONE = statement(_PROBLEMS, WHICH="problems.problem = :problem")


def problems(transaction: Transaction, deployment: str, limit: int, before: int | None = None) -> Sequence[pb.Problem]:
    """Return problems, the newest first.

    Args:
        transaction: of the caller.
        deployment: whose.
        limit: most of them.
        before: only those whose number is less, None for all.
    """
    deployments.enter(transaction, deployment)
    first = ids.GREATEST if before is None else min(before, ids.GREATEST)
    # The greatest number counts where nothing says otherwise.
    parameters = {"deployment": deployment, "limit": limit, "before": first + (before is None)}
    return [_problem(row) for row in transaction.connection.execute(_PAGE, parameters)]


def problem(transaction: Transaction, deployment: str, problem_id: int) -> pb.Problem:
    """Return a problem.

    Raises:
        NotFoundError: there is none.
    """
    deployments.enter(transaction, deployment)
    row = None
    if 0 < problem_id <= ids.GREATEST:
        parameters = {"deployment": deployment, "limit": 1, "problem": problem_id}
        row = transaction.connection.execute(_ONE, parameters).one_or_none()
    if row is None:
        raise NotFoundError(f"problem {problem_id} does not exist in this deployment; GET /api/problems lists them")
    return _problem(row)


def _problem(row: Row) -> pb.Problem:
    made = pb.Problem(
        problem_id=row.problem,
        problem_short_description=pb.UserInput.FromString(row.user_input).problem_short_description,
        state=row.state,
        iteration_count=row.count,
        last_iteration=row.iteration,
    )
    told.stamp(made.created_at, row.created_at)
    return made


_ITERATIONS = statement("""
    SELECT problem, iteration FROM iterations WHERE deployment = :deployment AND problem = :problem ORDER BY iteration
""")
_TASKS = statement("""
    SELECT problem, iteration FROM iterations WHERE deployment = :deployment AND started_at IS NOT NULL
    ORDER BY problem, iteration
""")


def iterations(transaction: Transaction, deployment: str, problem_id: int) -> Sequence[pb.Iteration]:
    """Return the iterations of a problem, in their order; see `problem`."""
    problem(transaction, deployment, problem_id)
    parameters = {"deployment": deployment, "problem": problem_id}
    found = transaction.connection.execute(_ITERATIONS, parameters).all()
    return [rows.get(transaction, deployment, rows.task_id_of(row)) for row in found]


def task_ids(transaction: Transaction, deployment: str) -> Sequence[pb.TaskId]:
    """Return the ids of all tasks that were started, in their order."""
    deployments.enter(transaction, deployment)
    found = transaction.connection.execute(_TASKS, {"deployment": deployment})
    return [rows.task_id_of(row) for row in found]
