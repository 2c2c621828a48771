"""How stages end, and what follows for their iteration: its state, what is skipped, and the next iteration."""

from uuid import UUID

from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.engine import plans, tasks
from orchestrator.engine.tasks import Task
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import graph, inputs, iterations, outputs, secrets, settings, stages, submitting, told
from orchestrator.store.connection import Row

SKIPPED = "what it needs can never come: a stage before it has failed or was stopped"


def keep(transaction: Transaction, task: Task, output: Message) -> None:
    """Keep the output of a stage that is Done."""
    stage = stages.of_task(task)
    row = iterations.row_of(transaction, stage.deployment, stage.task_id)
    own = secrets.decrypt(row.secrets)
    outputs.insert(transaction, stage, output, own)
    stages.finish(transaction, stage, pb.STAGE_SUCCEEDED, warning=secrets.hide_in(outputs.warning(output), own))


def keep_failure(transaction: Transaction, task: Task, error: pb.StageError, output: Message | None) -> None:
    """Keep why a stage has failed for good, and what it had written."""
    stage = stages.of_task(task)
    row = iterations.row_of(transaction, stage.deployment, stage.task_id)
    own = secrets.decrypt(row.secrets)
    hidden = pb.StageError(code=error.code, message=secrets.hide_in(error.message, own))
    if stages.finish(transaction, stage, pb.STAGE_ERROR, hidden) and output is not None:
        outputs.insert(transaction, stage, output, own, failed=True)


def follow_done(transaction: Transaction, task: Task) -> None:
    """Do what follows a stage that is Done."""
    stage = stages.of_task(task)
    stages.queue_children(transaction, task.key)
    row = iterations.lock(transaction, stage.deployment, stage.task_id)
    following = None
    if stage.kind == graph.LAST and row.next_iteration is None and row.state != pb.STAGE_ERROR:
        following = _follow(transaction, stage, row)
    told.of_task(
        transaction,
        pb.StageOutputEvent(
            deployment=stage.deployment,
            task_id=stage.task_id,
            run=stage.run,
            kind=stage.kind,
            next_task_id=following,
        ),
    )
    close(transaction, stage.deployment, stage.task_id, pb.STAGE_SUCCEEDED)


def _follow(transaction: Transaction, stage: pb.StageTask, row: Row) -> pb.TaskId | None:
    made = outputs.of_kinds(transaction, stage.deployment, stage.task_id, [graph.LAST, graph.GOALS])
    carbon, goals = made.get(graph.LAST), made.get(graph.GOALS)
    if not isinstance(carbon, pb.CO2Footprint):
        return None
    metadata = goals if isinstance(goals, pb.MLModelMetadata) else pb.MLModelMetadata()
    next_input = inputs.following(pb.UserInput.FromString(row.user_input), carbon, metadata)
    return None if next_input is None else submitting.follow(transaction, row, next_input)


def follow_failed(transaction: Transaction, task: Task) -> None:
    """Do what follows a stage that has failed: all below it are skipped, others go on.

    Args:
        transaction: that holds the latch of its plan.
        task: its task.
    """
    stage = stages.of_task(task)
    row = stages.by_task(transaction, task.key)
    if row is None:
        return
    iterations.lock(transaction, stage.deployment, stage.task_id)
    error = pb.StageError.FromString(row.error or b"")
    iterations.fail(transaction, stage.deployment, stage.task_id, stage.kind, error)
    skip_below(transaction, stage.deployment, stage.task_id, {stage.kind})
    close(transaction, stage.deployment, stage.task_id, pb.STAGE_ERROR)


def skip_below(transaction: Transaction, deployment: str, task_id: pb.TaskId, kinds: set[int]) -> None:
    """Skip the stages that need one of some kinds, which have ended without an output."""
    below = set().union(*(graph.below(kind) for kind in kinds)) - kinds
    found = stages.of_iteration(transaction, deployment, task_id)
    skipped = [row for row in found if row.kind in below and row.state not in stages.ENDED]
    end_stages(transaction, skipped, pb.STAGE_SKIPPED, SKIPPED)


def end_stages(
    transaction: Transaction,
    found: list[Row],
    now: "pb.StageState.ValueType",
    reason: str,
    error: pb.StageError | None = None,
) -> None:
    """End stages of one iteration that have not ended, and tell the modules that run them.

    Args:
        transaction: of whoever may.
        found: their rows.
        now: the state that they end in.
        reason: for the events of their tasks.
        error: why, where they end in ERROR.
    """
    for row in found:
        stages.finish(transaction, definition(row), now, error)
    for plan in sorted({row.plan_key for row in found}):
        plans.hold(transaction, [plan])
        ending = {row.task_key for row in found if row.plan_key == plan}
        spared = [key for key in _keys_of(transaction, plan) if key not in ending]
        plans.cancel(transaction, plans.lock_live(transaction, plan, spared), reason)


def _keys_of(transaction: Transaction, plan: UUID) -> list[UUID]:
    return [task.key for task in tasks.of_plan(transaction, plan)]


def definition(row: Row) -> pb.StageTask:
    """Return what the definition of a stage's task says, by its row."""
    return pb.StageTask(
        key=str(row.task_key),
        deployment=row.deployment,
        task_id=pb.TaskId(problem_id=row.problem, iteration_id=row.iteration),
        run=row.run,
        kind=row.kind,
    )


def close(transaction: Transaction, deployment: str, task_id: pb.TaskId, now: "pb.StageState.ValueType") -> None:
    """Note that an iteration has ended, where all its stages have; its row is locked."""
    if not iterations.open_kinds(transaction, deployment, task_id):
        iterations.finish(transaction, deployment, task_id, now)


def in_band_error(output: Message) -> pb.StageError | None:
    """Return the error that an output says of itself, where the settings take it for one."""
    said = outputs.warning(output) if settings.current().problems_in_band_errors == "fail" else ""
    return pb.StageError(code=pb.STAGE_ERROR_NODE_ERROR, message=said) if said else None
