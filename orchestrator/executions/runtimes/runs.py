"""Runs: what is done for an execution by runtimes and workers, how it is noted, and how it is ended.

An execution without a run is kept and answered, and nothing else. Locks are taken in the order of the engine's, the
plan's latch first, then the rows of executions, then those of runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from orchestrator import protos as pb
from orchestrator.engine import plans
from orchestrator.engine.transaction import Transaction
from orchestrator.executions.runtimes import steps
from orchestrator.store.statements import statement

ARGO, TASKS = "argo_workflows", "tasks"
"""What runs an execution, as its schema says it."""


@dataclass(frozen=True)
class Run:
    """A run as its row has it.

    Args:
        execution: whose.
        plan: of its steps.
        worker: the organization whose runtimes or central node see to it.
        implementation: what runs it.
        workflow: what Argo calls its workflow, None before it is known.
        lives: whether a step of it has not ended.
    """

    execution: int
    plan: UUID
    worker: str
    implementation: str
    workflow: str | None
    lives: bool


_INSERT = statement("""
    WITH adapter AS (
             INSERT INTO communication_adapters (adapter, channel, execution, worker)
             SELECT :adapter, :channel, :execution, :worker WHERE :adapter <> ''
         )
    INSERT INTO execution_runs (execution, plan, channel, worker, implementation)
    VALUES (:execution, :plan, :channel, :worker, :implementation)
    RETURNING (SELECT name FROM installation)
""")


def insert(
    transaction: Transaction, execution: pb.Execution, worker: str, implementation: str, adapter: str = ""
) -> tuple[UUID, str]:
    """Keep the run of a new execution.

    Args:
        transaction: of the caller.
        execution: whose.
        worker: the organization whose runtimes or central node see to it.
        implementation: what runs it.
        adapter: K of topics that will be made for it, longer than it lives; empty without.

    Returns:
        The key of the plan that is to be made of its steps, and the label of its workflow.
    """
    plan = uuid4()
    installation: str = transaction.connection.execute(
        _INSERT,
        {
            "adapter": adapter,
            "channel": transaction.channel,
            "execution": execution.id,
            "plan": plan,
            "worker": worker,
            "implementation": implementation,
        },
    ).scalar_one()
    return plan, label(installation, execution.id)


_INSTALLATION = statement("SELECT name FROM installation")


def installation(transaction: Transaction) -> str:
    """Return what tells the workflows of this installation from those of others."""
    name: str = transaction.connection.execute(_INSTALLATION).scalar_one()
    return name


def label(installation: str, execution: int) -> str:
    """Return the value of the label of an execution's workflow."""
    return f"{installation}-{execution}"


_NOTE = statement(
    "UPDATE execution_runs SET workflow = :workflow, noted_at = :now, over_since = NULL WHERE execution = :execution"
)


def note(transaction: Transaction, execution: int, workflow: str) -> None:
    """Note what the workflow of an execution is called."""
    parameters = {"execution": execution, "workflow": workflow, "now": transaction.now}
    transaction.connection.execute(_NOTE, parameters)


_OF = """
    SELECT execution, plan, worker, implementation, workflow,
           EXISTS (SELECT FROM task_states WHERE plan_key = plan AND status IN ($LIVE)) AS lives
    FROM execution_runs
    WHERE channel = :channel AND $WHICH ORDER BY execution
"""
_OF_ONE = statement(_OF, WHICH="execution = :execution")
_OF_SCHEMA = statement(
    _OF, WHICH="execution IN (SELECT id FROM executions WHERE channel = :channel AND schema = :schema)"
)
_OF_MANY = statement(_OF, WHICH="execution = ANY(CAST(:executions AS bigint[]))")
_BEGUN = statement("""
    SELECT execution FROM execution_runs
    WHERE execution = ANY(CAST(:executions AS bigint[]))
      AND EXISTS (SELECT FROM task_states WHERE plan_key = plan AND attempts > 0)
""")


def get(transaction: Transaction, execution: int) -> Run:
    """Return the run of an execution that has one."""
    parameters = {"channel": transaction.channel, "execution": execution}
    return Run(*transaction.connection.execute(_OF_ONE, parameters).one())


def end(transaction: Transaction, execution: int, reason: str) -> None:
    """End what is done for an execution: what has not begun never does, and what was placed is ended.

    Args:
        transaction: of whoever may; it has locked neither plans nor rows of executions.
        execution: whose; one without a run is passed over.
        reason: why, for the events of its steps.
    """
    found = transaction.connection.execute(_OF_ONE, {"channel": transaction.channel, "execution": execution})
    send_ends(transaction, stop(transaction, [Run(*row) for row in found], reason))


def end_of_schema(transaction: Transaction, schema: str, reason: str) -> None:
    """Do so for all executions of a schema, of which there will be no more."""
    found = transaction.connection.execute(_OF_SCHEMA, {"channel": transaction.channel, "schema": schema})
    send_ends(transaction, stop(transaction, [Run(*row) for row in found], reason))


def stop(transaction: Transaction, found: Sequence[Run], reason: str) -> list[Run]:
    """End the plans of runs; return the runs as they are then, their latches held."""
    if not found:
        return []
    plans.hold(transaction, [run.plan for run in found])
    parameters = {"channel": transaction.channel, "executions": [run.execution for run in found]}
    # Read anew: a start may have been done, or have failed, before its latch was held.
    held = [Run(*row) for row in transaction.connection.execute(_OF_MANY, parameters)]
    lives = [plans.lock_live(transaction, run.plan) for run in held if run.lives]
    for run in held:
        plans.end(transaction, run.plan, pb.STATUS_CANCELED)
    for live in lives:
        plans.cancel(transaction, live, reason)
    return held


def send_ends(transaction: Transaction, stopped: Sequence[Run]) -> None:
    """Have runtimes end the workflows of runs that were stopped, where there may be one."""
    placed = {run.execution: run for run in stopped if run.implementation == ARGO}
    if not placed:
        return
    begun = list(transaction.connection.execute(_BEGUN, {"executions": list(placed)}).scalars())
    name = installation(transaction)
    for worker in {placed[execution].worker for execution in begun}:
        ends = [
            pb.EndWork(execution=execution, label=label(name, execution), workflow=placed[execution].workflow or "")
            for execution in begun
            if placed[execution].worker == worker
        ]
        steps.send(transaction, worker, [(end.execution, pb.STEP_ROLE_END, end) for end in ends])
