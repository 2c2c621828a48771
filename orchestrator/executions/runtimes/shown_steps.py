"""The containers of executions as they are shown to those who run them, and to whose executions they are of."""

from orchestrator import protos as pb
from orchestrator.core.errors import NotFoundError
from orchestrator.core.fields import parse_key
from orchestrator.engine import tasks
from orchestrator.engine.tasks import Task
from orchestrator.engine.transaction import Transaction
from orchestrator.executions.runtimes import steps
from orchestrator.store.statements import statement

_OF_EXECUTION = statement(
    """
    SELECT $RETURNED
    FROM execution_runs
    JOIN tasks ON tasks.plan_key = execution_runs.plan
    JOIN task_states USING (key)
    WHERE execution_runs.execution = :execution AND execution_runs.channel = :channel
    ORDER BY tasks.rank, tasks.key
    """,
    RETURNED=tasks.RETURNED,
)
_MOST = 2**63 - 1


def of_execution(transaction: Transaction, asked: pb.GetStepsParam) -> pb.GetStepsResponse:
    """Return the containers of an execution that the caller may know of, in the order in which they may begin.

    Raises:
        NotFoundError: it has none, or the caller has no part in them.
    """
    parameters = {"execution": min(asked.execution, _MOST), "channel": transaction.channel}
    found = tasks.of_rows(transaction.connection.execute(_OF_EXECUTION, parameters))
    shown = [_shown(task) for task in found if transaction.organization in (task.owner, task.worker)]
    containers = [each for each in shown if each.step.role == pb.STEP_ROLE_CONTAINER]
    if not containers:
        raise NotFoundError(
            f"execution {asked.execution} has no containers that {transaction.organization} may know of"
        )
    return pb.GetStepsResponse(steps=containers)


def one(transaction: Transaction, asked: pb.GetStepParam) -> pb.ShownStep:
    """Return a step that the caller may know of.

    Raises:
        NotFoundError: there is none with this key, or the caller has no part in it.
    """
    task = tasks.get(transaction, parse_key(asked.key))
    if task.kind != steps.KIND or transaction.organization not in (task.owner, task.worker):
        raise NotFoundError(f"step {asked.key} does not exist")
    return _shown(task)


def _shown(task: Task) -> pb.ShownStep:
    step = pb.ExecutionStep.FromString(task.definition + steps.state(task.status))
    return pb.ShownStep(step=step, worker=task.worker, attempts=task.attempts)
