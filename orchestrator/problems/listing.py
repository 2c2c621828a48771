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
_ONE = statement(_PROBLEMS, WHICH="problems.problem = :problem")
_PAGE = statement(
    """
    WITH listed AS ($PROBLEMS),
         sized AS (SELECT problem, created_at, state, iteration, count, user_input,
                          sum(octet_length(user_input)) OVER (ORDER BY problem DESC) AS size
                   FROM listed)
    SELECT problem, created_at, state, iteration, count, user_input FROM sized
    WHERE size - octet_length(user_input) < :bytes ORDER BY problem DESC
    """,
    PROBLEMS=_PROBLEMS.replace("$WHICH", "problems.problem < :before"),
)
_MORE = statement("SELECT EXISTS (SELECT FROM problems WHERE deployment = :deployment AND problem < :last)")

PAGE_BYTES = 4 * 1024 * 1024
"""A page begins no other problem once the inputs of those on it come to as much: one may have as much alone."""


def problems(
    transaction: Transaction, deployment: str, limit: int, before: int | None = None
) -> tuple[Sequence[pb.Problem], bool]:
    """Return a page of problems, the newest first, and whether there are older ones.

    Args:
        transaction: of the caller.
        deployment: whose.
        limit: most of them.
        before: only those whose number is less, None for all.
    """
    deployments.enter(transaction, deployment)
    first = ids.GREATEST if before is None else min(before, ids.GREATEST)
    # The greatest number counts where nothing says otherwise.
    parameters = {"deployment": deployment, "limit": limit, "before": first + (before is None), "bytes": PAGE_BYTES}
    found = [_problem(row) for row in transaction.connection.execute(_PAGE, parameters)]
    if not found:
        return found, False
    last = {"deployment": deployment, "last": found[-1].problem_id}
    return found, bool(transaction.connection.execute(_MORE, last).scalar_one())


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
    """Return the iterations of a problem without their inputs, in their order; see `problem`."""
    problem(transaction, deployment, problem_id)
    parameters = {"deployment": deployment, "problem": problem_id}
    found = [rows.task_id_of(row) for row in transaction.connection.execute(_ITERATIONS, parameters)]
    return [_without_input(rows.get(transaction, deployment, task_id)) for task_id in found]


def _without_input(iteration: pb.Iteration) -> pb.Iteration:
    # There may be many, and each input may take megabytes.
    iteration.ClearField("user_input")
    return iteration


def task_ids(transaction: Transaction, deployment: str) -> Sequence[pb.TaskId]:
    """Return the ids of all tasks that were started, in their order."""
    deployments.enter(transaction, deployment)
    found = transaction.connection.execute(_TASKS, {"deployment": deployment})
    return [rows.task_id_of(row) for row in found]
