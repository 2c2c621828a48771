"""Iterations: their rows, and how clients see them."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from orchestrator import protos as pb
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import deployments, ids, inputs, secrets, settings, stages, told, waiting
from orchestrator.store.connection import Row
from orchestrator.store.statements import statement

_COLUMNS = """
    deployment, problem, iteration, parent, run, state, priority, created_at, started_at, deadline_at, ended_at,
    preempted_at, user_input, secrets, failed_stage, error, final, next_iteration
"""
_GET = """
    SELECT $COLUMNS FROM iterations
    WHERE deployment = :deployment AND problem = :problem AND iteration = :iteration
"""
_READ = statement(_GET, COLUMNS=_COLUMNS)
_LOCK = statement(_GET + "FOR NO KEY UPDATE", COLUMNS=_COLUMNS)


def row_of(transaction: Transaction, deployment: str, task_id: pb.TaskId) -> Row:
    """Return the row of an iteration.

    Raises:
        NotFoundError: there is none.
    """
    ids.check_task(task_id)
    row = transaction.connection.execute(_READ, stages.of(deployment, task_id)).one_or_none()
    if row is None:
        raise ids.unknown(task_id)
    return row


def lock(transaction: Transaction, deployment: str, task_id: pb.TaskId) -> Row:
    """Return the row of an iteration, locked until the transaction ends; see `row_of`."""
    ids.check_task(task_id)
    row = transaction.connection.execute(_LOCK, stages.of(deployment, task_id)).one_or_none()
    if row is None:
        raise ids.unknown(task_id)
    transaction.locked()
    return row


_SECRETS = statement("SELECT secrets FROM iterations WHERE deployment = :deployment AND secrets IS NOT NULL")


def open_secrets(transaction: Transaction, deployment: str) -> Sequence[secrets.Secrets]:
    """Return the secrets of users whose iterations have not ended: a module may know them all."""
    rows = transaction.connection.execute(_SECRETS, {"deployment": deployment})
    return [secrets.decrypt(row.secrets) for row in rows]


def task_id_of(row: Row) -> pb.TaskId:
    """Return the id of an iteration."""
    return pb.TaskId(problem_id=row.problem, iteration_id=row.iteration)


def get(transaction: Transaction, deployment: str, task_id: pb.TaskId) -> pb.Iteration:
    """Return an iteration with its stages.

    Raises:
        NotFoundError: there is none.
    """
    deployments.enter(transaction, deployment)
    return message(transaction, row_of(transaction, deployment, task_id))


def message(transaction: Transaction, row: Row) -> pb.Iteration:
    """Return an iteration as clients see it."""
    task_id = task_id_of(row)
    made = pb.Iteration(
        deployment=row.deployment,
        task_id=task_id,
        parent=row.parent,
        run=row.run,
        state=row.state,
        priority=row.priority,
        user_input=pb.UserInput.FromString(row.user_input),
        final=row.final,
    )
    told.stamp(made.created_at, row.created_at)
    for name in ("started_at", "ended_at"):
        if (moment := getattr(row, name)) is not None:
            told.stamp(getattr(made, name), moment)
    if row.failed_stage is not None:
        made.failed, made.failed_stage = True, row.failed_stage
    if row.error is not None:
        made.error.ParseFromString(row.error)
    if row.next_iteration is not None:
        made.next_task_id.CopyFrom(pb.TaskId(problem_id=row.problem, iteration_id=row.next_iteration))
    found = stages.of_iteration(transaction, row.deployment, task_id)
    reasons = waiting.reasons(transaction, row.deployment, found)
    made.stages.extend(
        stages.message(stage, reasons.get(stage.kind, ""), stage.state == pb.STAGE_SUCCEEDED) for stage in found
    )
    if not found:
        made.stages.extend(waiting.prepared())
    return made


_LATEST = statement("""
    SELECT problem, iteration FROM iterations
    WHERE deployment = :deployment AND started_at IS NOT NULL ORDER BY started_at DESC, sequence DESC LIMIT 1
""")


def latest(transaction: Transaction, deployment: str) -> pb.TaskId | None:
    """Return the task that was submitted or re-iterated last, None where none ever was."""
    deployments.enter(transaction, deployment)
    row = transaction.connection.execute(_LATEST, {"deployment": deployment}).one_or_none()
    return None if row is None else task_id_of(row)


_BEGIN = statement("""
    UPDATE iterations SET state = 2
    WHERE deployment = :deployment AND problem = :problem AND iteration = :iteration AND state = 0
    RETURNING run
""")


def begin(transaction: Transaction, deployment: str, task_id: pb.TaskId) -> None:
    """Note that a stage of an iteration runs."""
    row = transaction.connection.execute(_BEGIN, stages.of(deployment, task_id)).one_or_none()
    if row is not None:
        tell(transaction, deployment, task_id, row.run, pb.STAGE_RUNNING)


_FAIL = statement("""
    UPDATE iterations SET state = 1, failed_stage = :failed_stage, error = :error
    WHERE deployment = :deployment AND problem = :problem AND iteration = :iteration AND state IN (0, 2)
    RETURNING run
""")


def fail(
    transaction: Transaction, deployment: str, task_id: pb.TaskId, failed_stage: int, error: pb.StageError
) -> None:
    """Note that a stage of an iteration has failed; the first one counts."""
    row = transaction.connection.execute(
        _FAIL,
        {**stages.of(deployment, task_id), "failed_stage": failed_stage, "error": error.SerializeToString()},
    ).one_or_none()
    if row is not None:
        tell(transaction, deployment, task_id, row.run, pb.STAGE_ERROR, failed_stage, error)


_FINISH = statement("""
    UPDATE iterations
    SET state = CASE WHEN state = 1 THEN state ELSE :state END, ended_at = :now, secrets = NULL
    WHERE deployment = :deployment AND problem = :problem AND iteration = :iteration AND ended_at IS NULL
    RETURNING run, state
""")


def finish(transaction: Transaction, deployment: str, task_id: pb.TaskId, now: "pb.StageState.ValueType") -> bool:
    """Note that all stages of an iteration have ended; return False where that was noted before.

    Args:
        transaction: in which its last stage ends.
        deployment: whose.
        task_id: which.
        now: its state, where none of its stages has failed.
    """
    parameters = {**stages.of(deployment, task_id), "state": now, "now": transaction.now}
    row = transaction.connection.execute(_FINISH, parameters).one_or_none()
    if row is not None and row.state != pb.STAGE_ERROR:
        tell(transaction, deployment, task_id, row.run, row.state)
    return row is not None


def tell(
    transaction: Transaction,
    deployment: str,
    task_id: pb.TaskId,
    run: int,
    now: "pb.StageState.ValueType",
    failed_stage: int | None = None,
    error: pb.StageError | None = None,
) -> None:
    """Tell what state an iteration is in."""
    event = pb.IterationStatusEvent(deployment=deployment, task_id=task_id, run=run, state=now, error=error)
    if failed_stage is not None:
        event.failed, event.failed_stage = True, failed_stage
    told.of_task(transaction, event)


def deadline(now: datetime, user_input: pb.UserInput) -> datetime | None:
    """Return when an iteration that starts now must have ended, None for never."""
    own = inputs.time_limit(inputs.extra_of(user_input.extra_data))
    seconds = settings.current().problems_time_limit if own is None else own
    return now + timedelta(seconds=seconds) if seconds else None


_OPEN = statement("""
    SELECT kind FROM stages
    WHERE deployment = :deployment AND problem = :problem AND iteration = :iteration AND ended_as IS NULL
""")


def open_kinds(transaction: Transaction, deployment: str, task_id: pb.TaskId) -> Collection[int]:
    """Return the kinds of the stages of an iteration that have not ended."""
    return list(transaction.connection.execute(_OPEN, stages.of(deployment, task_id)).scalars())


_NEWEST = statement("""
    SELECT problem, iteration FROM iterations
    WHERE deployment = :deployment AND started_at IS NOT NULL AND ended_at IS NULL
    ORDER BY started_at DESC, sequence DESC LIMIT 1
""")


def newest_open(transaction: Transaction, deployment: str) -> pb.TaskId | None:
    """Return the task that was started last of those that have not ended, None without one."""
    row = transaction.connection.execute(_NEWEST, {"deployment": deployment}).one_or_none()
    return None if row is None else task_id_of(row)


def warnings(iteration: pb.Iteration) -> Sequence[str]:
    """Return the warnings of the stages of an iteration."""
    return [stage.warning for stage in iteration.stages if stage.warning]
