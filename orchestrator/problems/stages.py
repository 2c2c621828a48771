"""Stages: one kind's work on one iteration, each a task of the engine."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID, uuid4

from orchestrator import protos as pb
from orchestrator.core import states
from orchestrator.core.kinds import STAGE_TASK
from orchestrator.engine import plans, tasks
from orchestrator.engine.tasks import NewTask, Task
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import deployments, graph, told
from orchestrator.store.connection import Row
from orchestrator.store.statements import statement

KIND = "problems"
"""The name of the kind of work."""

ENDED = (pb.STAGE_ERROR, pb.STAGE_SUCCEEDED, pb.STAGE_STOPPED, pb.STAGE_SKIPPED)


def of_task(task: Task) -> pb.StageTask:
    """Return what the definition of a stage's task says."""
    return pb.StageTask.FromString(task.definition)


def state(status: states.TaskStatus) -> bytes:
    """Return the field that says the state of a stage's task."""
    return pb.StageTask(status=status).SerializeToString()


_INSERT = statement("""
    INSERT INTO stages (deployment, problem, iteration, kind, run, task_key, plan_key, queued_at)
    SELECT :deployment, :problem, :iteration, kind, :run, task_key, :plan,
           CASE WHEN pending = 0 THEN CAST(:now AS timestamptz) END
    FROM unnest(CAST(:kinds AS smallint[]), CAST(:keys AS uuid[]), CAST(:pendings AS int[]))
         AS stage (kind, task_key, pending)
    ON CONFLICT (deployment, problem, iteration, kind)
    DO UPDATE SET run = excluded.run, task_key = excluded.task_key, plan_key = excluded.plan_key, attempt = 0,
                  replica = NULL, queued_at = excluded.queued_at, started_at = NULL, slow_at = NULL, ended_at = NULL,
                  ended_as = NULL, error = NULL, warning = NULL
""")


def register(
    transaction: Transaction,
    deployment: str,
    task_id: pb.TaskId,
    run: int,
    priority: int,
    kinds: Collection[int],
    outer: Mapping[int, UUID] | None = None,
) -> UUID:
    """Have modules run stages of an iteration, from the commit on; return the plan of their tasks.

    Args:
        transaction: that has locked the iteration, or makes it; it holds the latches of the plans of `outer`.
        deployment: whose.
        task_id: the iteration.
        run: which of its runs.
        priority: of the pokes.
        kinds: those that run. The outputs of all others that they need are there, but for those of `outer`.
        outer: the tasks of other stages that have not ended, by kind.
    """
    plan = uuid4()
    plans.register(transaction, plan, KIND)
    keys = {kind: uuid4() for kind in graph.in_order() if kind in set(kinds)}
    around = {**(outer or {}), **keys}
    new = []
    for kind, key in keys.items():
        parents = [around[parent] for parent in graph.KINDS[kind].parents if parent in around]
        definition = pb.StageTask(key=str(key), deployment=deployment, task_id=task_id, run=run, kind=kind)
        new.append(
            NewTask(
                key=key,
                kind=KIND,
                plan=plan,
                worker=transaction.organization,
                queue=deployments.queue(deployment, kind),
                status=states.ready_status(len(parents)),
                definition=definition.SerializeToString(),
                parents=parents,
                pending_parents=len(parents),
                rank=graph.ranks()[kind],
                priority=priority,
            )
        )
    tasks.insert_many(transaction, new, outer=list((outer or {}).values()))
    for key, task in zip(keys.values(), new, strict=True):
        transaction.events.registered(str(key), STAGE_TASK, task.definition + state(task.status))
        if not task.parents:
            transaction.pokes.run(task.queue, key, 1, task.priority)
    transaction.connection.execute(
        _INSERT,
        {
            **of(deployment, task_id),
            "run": run,
            "plan": plan,
            "now": transaction.now,
            "kinds": list(keys),
            "keys": list(keys.values()),
            "pendings": [task.pending_parents for task in new],
        },
    )
    return plan


def of(deployment: str, task_id: pb.TaskId) -> dict[str, object]:
    """Return the parameters that name an iteration."""
    return {"deployment": deployment, "problem": task_id.problem_id, "iteration": task_id.iteration_id}


_COLUMNS = """
    stages.kind, run, task_key, stages.plan_key, attempt, replica, queued_at, started_at, slow_at, ended_at, error,
    warning, coalesce(ended_as, CASE WHEN status IN ($DOING) THEN 2 ELSE 0 END) AS state, status, problem, iteration,
    deployment
"""
_OF_ITERATION = statement(
    """
    SELECT $COLUMNS FROM stages JOIN task_states ON key = task_key
    WHERE deployment = :deployment AND problem = :problem AND iteration = :iteration ORDER BY stages.kind
    """,
    COLUMNS=_COLUMNS,
)
_BY_TASK = statement(
    "SELECT $COLUMNS FROM stages JOIN task_states ON key = task_key WHERE task_key = :key", COLUMNS=_COLUMNS
)


def of_iteration(transaction: Transaction, deployment: str, task_id: pb.TaskId) -> Sequence[Row]:
    """Return the stages of an iteration, by kind; none of one that was not started."""
    return transaction.connection.execute(_OF_ITERATION, of(deployment, task_id)).all()


def by_task(transaction: Transaction, key: UUID) -> Row | None:
    """Return the stage that a task runs, None where another task does by now, or none."""
    return transaction.connection.execute(_BY_TASK, {"key": key}).one_or_none()


_BEGIN = statement("""
    UPDATE stages SET attempt = :attempt, replica = :replica, started_at = :now, slow_at = NULL, error = NULL
    WHERE task_key = :key AND attempt < :attempt
    RETURNING kind
""")


def begin(transaction: Transaction, task: Task, replica: str) -> bool:
    """Note that a module runs an attempt at a stage, and tell of it; return False where that was noted before."""
    parameters = {"key": task.key, "attempt": task.attempts, "replica": replica, "now": transaction.now}
    if not transaction.connection.execute(_BEGIN, parameters):
        return False
    tell(transaction, of_task(task), pb.STAGE_RUNNING, task.attempts, replica)
    return True


def tell(
    transaction: Transaction,
    stage: pb.StageTask,
    now: "pb.StageState.ValueType",
    attempt: int,
    replica: str | None,
    error: pb.StageError | None = None,
) -> None:
    """Tell what state a stage is in."""
    event = pb.StageStatusEvent(
        deployment=stage.deployment,
        task_id=stage.task_id,
        run=stage.run,
        kind=stage.kind,
        state=now,
        attempt=attempt,
        replica=replica or "",
        error=error,
    )
    told.of_task(transaction, event)


_FINISH = statement("""
    UPDATE stages SET ended_as = :state, ended_at = :now, error = :error, warning = :warning
    WHERE task_key = :key AND ended_as IS NULL
    RETURNING attempt, replica
""")


def finish(
    transaction: Transaction,
    stage: pb.StageTask,
    now: "pb.StageState.ValueType",
    error: pb.StageError | None = None,
    warning: str = "",
) -> bool:
    """Note how a stage has ended, and tell of it; return False where it had ended before, or runs anew."""
    row = transaction.connection.execute(
        _FINISH,
        {
            "key": UUID(stage.key),
            "state": now,
            "now": transaction.now,
            "error": None if error is None else error.SerializeToString(),
            "warning": warning.encode(errors="replace") or None,
        },
    ).one_or_none()
    if row is not None:
        tell(transaction, stage, now, row.attempt, row.replica, error)
    return row is not None


_QUEUE = statement("""
    UPDATE stages SET queued_at = :now FROM edges JOIN task_states ON task_states.key = child
    WHERE parent = :key AND task_key = child AND status = $TO_DO AND queued_at IS NULL
""")


def queue_children(transaction: Transaction, key: UUID) -> None:
    """Note that the stages below a task that is Done wait for a module alone, where all their inputs are there."""
    transaction.connection.execute(_QUEUE, {"key": key, "now": transaction.now})


_REQUEUE = statement("UPDATE stages SET queued_at = :now, slow_at = NULL WHERE task_key = :key AND ended_as IS NULL")


def requeue(transaction: Transaction, key: UUID) -> None:
    """Note that a stage waits again for a module."""
    transaction.connection.execute(_REQUEUE, {"key": key, "now": transaction.now})


def message(row: Row, waiting_for: str = "", has_output: bool = False) -> pb.Stage:
    """Return a stage as clients see it."""
    made = pb.Stage(
        kind=row.kind,
        state=row.state,
        attempt=row.attempt,
        replica=row.replica or "",
        warning=(row.warning or b"").decode(),
        waiting_for=waiting_for,
        run=row.run,
        has_output=has_output,
    )
    if row.error is not None:
        made.error.ParseFromString(row.error)
    for name, moment in _times(row).items():
        told.stamp(getattr(made, name), moment)
    return made


def _times(row: Row) -> Mapping[str, datetime]:
    found = {
        "queued_at": row.queued_at,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "slow_since": row.slow_at,
    }
    return {name: moment for name, moment in found.items() if moment is not None}
