"""PREEMPT_TASK: the stages of an iteration go behind all that wait now; it resumes by itself."""

from orchestrator import protos as pb
from orchestrator.core.errors import IncompatibleStatusError
from orchestrator.engine import queues
from orchestrator.engine.tasks import Task
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import holding, iterations, stages, taking_back
from orchestrator.store.statements import statement

# The other stages that wait for modules of the kinds that an iteration still needs.
_OTHERS = statement("""
    SELECT stages.kind, min(priority) AS lowest FROM stages JOIN task_states ON key = task_key JOIN tasks USING (key)
    WHERE deployment = :deployment AND ended_as IS NULL AND status = $TO_DO
      AND NOT (problem = :problem AND iteration = :iteration) AND stages.kind = ANY(CAST(:kinds AS smallint[]))
    GROUP BY stages.kind
""")
_NOTE = statement("""
    UPDATE iterations SET preempted_at = :now, state = CASE WHEN :waits AND state = 2 THEN 0 ELSE state END
    WHERE deployment = :deployment AND problem = :problem AND iteration = :iteration
    RETURNING state, run
""")
_QUEUED = statement("""
    UPDATE stages SET queued_at = :now WHERE task_key = ANY(CAST(:keys AS uuid[])) AND queued_at IS NOT NULL
""")


def preempt(transaction: Transaction, deployment: str, task_id: pb.TaskId) -> None:
    """Have an iteration wait until what waits now has been taken.

    Raises:
        NotFoundError: there is none.
    """
    held = holding.hold(transaction, deployment, task_id)
    if not held.open:
        return
    parameters = {**stages.of(deployment, task_id), "kinds": [row.kind for row in held.open]}
    lowest = {row.kind: row.lowest for row in transaction.connection.execute(_OTHERS, parameters)}
    priority = min([held.row.priority, *lowest.values()])
    # What its other stages wait behind is not known before they wait.
    queues.put_behind(transaction, [row.task_key for row in held.open], priority)
    running = [row for row in held.open if row.state == pb.STAGE_RUNNING]
    back = [row.task_key for row in running if row.kind in lowest]
    taking_back.take_back(transaction, back, "its task lets others go first, by PREEMPT_TASK")
    queued = [row.task_key for row in held.open if row.state == pb.STAGE_WAITING] + back
    transaction.connection.execute(_QUEUED, {"keys": queued, "now": transaction.now})
    waits = len(back) == len(running)
    noted = transaction.connection.execute(
        _NOTE, {**stages.of(deployment, task_id), "now": transaction.now, "waits": waits}
    ).one()
    if noted.state != held.row.state:
        iterations.tell(transaction, deployment, task_id, noted.run, noted.state)


# A poke of it that was under way when it was put behind comes too early.
_BEFORE = statement("""
    SELECT EXISTS (
        SELECT FROM stages JOIN task_states ON key = task_key
        WHERE deployment = :deployment AND stages.kind = :kind AND ended_as IS NULL AND status = $TO_DO
          AND stages.queued_at < own.queued_at)
    FROM stages AS own JOIN iterations USING (deployment, problem, iteration)
    WHERE own.task_key = :key AND preempted_at IS NOT NULL AND own.queued_at <= preempted_at
""")


def check_turn(transaction: Transaction, task: Task) -> None:
    """Check that nothing waits that a stage was put behind.

    Raises:
        IncompatibleStatusError: something does.
    """
    stage = stages.of_task(task)
    parameters = {"deployment": stage.deployment, "kind": stage.kind, "key": task.key}
    if transaction.connection.execute(_BEFORE, parameters).scalar_one_or_none():
        raise IncompatibleStatusError(f"task {task.key} lets others go first, by PREEMPT_TASK, and they wait yet")
