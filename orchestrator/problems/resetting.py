"""RESET_TASK: stages of an iteration run again under the same id, by a new plan."""

from orchestrator import protos as pb
from orchestrator.engine import plans, tasks
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import graph, holding, ids, iterations, modules, stages
from orchestrator.problems.errors import StateError
from orchestrator.store.connection import Row
from orchestrator.store.statements import statement

_AGAIN = statement("""
    UPDATE iterations
    SET run = :run, state = :state, ended_at = NULL, failed_stage = NULL, error = NULL,
        started_at = coalesce(started_at, CAST(:now AS timestamptz)), deadline_at = :deadline
    WHERE deployment = :deployment AND problem = :problem AND iteration = :iteration
""")


def reset(transaction: Transaction, deployment: str, task_id: pb.TaskId, kind: int | None = None) -> None:
    """Have an iteration run again; what it has made is set aside.

    Args:
        transaction: of the caller.
        deployment: whose.
        task_id: which.
        kind: of the stage that runs again with all below it; all stages do where None.

    Raises:
        NotFoundError: there is none.
        StateError: it was ended for good, or a stage that stays as it is has no output for one that runs again.
    """
    held = holding.hold(transaction, deployment, task_id)
    check(held, kind)
    again = set(graph.KINDS) if kind is None or not held.stages else graph.below(kind)
    outer = {row.kind: row.task_key for row in held.open if row.kind not in again}
    # One that was prepared only begins its first run.
    run = held.row.run + 1 if held.stages else held.row.run
    stages.register(transaction, deployment, task_id, run, held.row.priority, again, outer)
    _cancel(transaction, [row for row in held.open if row.kind in again])
    begun = any(row.state == pb.STAGE_RUNNING for row in held.open if row.kind in outer)
    state = pb.STAGE_RUNNING if begun else pb.STAGE_WAITING
    deadline = iterations.deadline(transaction.now, pb.UserInput.FromString(held.row.user_input))
    parameters = {"run": run, "state": state, "now": transaction.now, "deadline": deadline}
    transaction.connection.execute(_AGAIN, {**stages.of(deployment, task_id), **parameters})
    iterations.tell(transaction, deployment, task_id, run, state)
    for row in held.stages:
        if row.kind in again:
            anew = pb.StageTask(deployment=deployment, task_id=task_id, run=run, kind=row.kind)
            stages.tell(transaction, anew, pb.STAGE_WAITING, 0, None)
            if row.state == pb.STAGE_RUNNING and row.replica:
                modules.refresh(transaction, deployment, row.kind, row.replica)


def check(held: holding.Held, kind: int | None) -> None:
    """Check that an iteration can run again; see `reset`."""
    if held.row.final:
        raise StateError(f"task {ids.shown(held.task_id)} was ended by TERMINATE_TASK, and never runs again")
    if kind is None:
        return
    again = graph.below(kind)
    states = {row.kind: row.state for row in held.stages}
    for each in sorted(again):
        for parent in graph.KINDS[each].parents:
            ended = states.get(parent) in stages.ENDED and states.get(parent) != pb.STAGE_SUCCEEDED
            if parent not in again and ended:
                name = graph.KINDS[parent].name
                raise StateError(
                    f"task {ids.shown(held.task_id)}: {graph.KINDS[each].name} needs {name}, which has ended without "
                    f"an output; reset {name}, or the whole task"
                )


def _cancel(transaction: Transaction, old: list[Row]) -> None:
    """Cancel tasks whose stages have others by now, and tell the modules that run them."""
    for plan in sorted({row.plan_key for row in old}):
        ending = {row.task_key for row in old if row.plan_key == plan}
        spared = [task.key for task in tasks.of_plan(transaction, plan) if task.key not in ending]
        plans.cancel(transaction, plans.lock_live(transaction, plan, spared), "its stage runs again, by RESET_TASK")
