"""Modules: the processes that run stages, their states, and which of them take work.

The row of a module is locked last in a transaction, so that none waits long for another. What lets modules claim, or
keeps them from it, holds the gate of their kind alone; a claim shares it: so a module that was stopped takes nothing.
"""

from collections.abc import Mapping, Sequence

from orchestrator import protos as pb
from orchestrator.core.errors import IncompatibleStatusError
from orchestrator.engine.tasks import Task
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import deployments, graph, presence, settings, stages, told
from orchestrator.store.connection import Row
from orchestrator.store.statements import statement

State = pb.ModuleState

_RUNNING = """
    (SELECT count(*) FROM stages JOIN task_states ON key = task_key
     WHERE stages.deployment = modules.deployment AND stages.kind = modules.kind AND replica = modules.name
       AND ended_as IS NULL AND status IN ($DOING))
"""
_COLUMNS = """
    modules.deployment, modules.kind, name, process_id, registered_at, heard_at, phase, slots, reason, stopped,
    set_aside, failed, failures, restarting, told, told_at, $LIVES AS lives, $RUNNING AS running,
    coalesce((SELECT stopped_at IS NOT NULL FROM module_kinds
              WHERE module_kinds.deployment = modules.deployment AND module_kinds.kind = modules.kind), false)
        AS kind_stopped
"""
_PARTS = {
    "COLUMNS": _COLUMNS,
    "LIVES": presence.LIVES,
    "ENDED_PHASE": presence.ENDED_PHASE,
    "RUNNING": _RUNNING,
}
_ALL = statement("SELECT $COLUMNS FROM modules WHERE deployment = :deployment ORDER BY kind, name", **_PARTS)
_ONE = statement(
    "SELECT $COLUMNS FROM modules WHERE deployment = :deployment AND kind = :kind AND name = :name", **_PARTS
)
_LOCK = statement(
    """
    SELECT FROM modules WHERE deployment = :deployment AND kind = :kind AND name = :name FOR NO KEY UPDATE
    """
)


def find(transaction: Transaction, deployment: str, kind: int, name: str) -> Row | None:
    """Return the row of a module, None where it was never seen."""
    return transaction.connection.execute(_ONE, {**_of(deployment, kind, name), **_now(transaction)}).one_or_none()


def lock(transaction: Transaction, deployment: str, kind: int, name: str) -> Row | None:
    """Return the row of a module, locked until the transaction ends; None where it was never seen."""
    transaction.connection.execute(_LOCK, _of(deployment, kind, name))
    transaction.locked()
    return find(transaction, deployment, kind, name)


def of_deployment(transaction: Transaction, deployment: str) -> Sequence[Row]:
    """Return the rows of all modules, by kind and name."""
    return transaction.connection.execute(_ALL, {"deployment": deployment, **_now(transaction)}).all()


def _of(deployment: str, kind: int, name: str) -> Mapping[str, object]:
    return {"deployment": deployment, "kind": kind, "name": name}


def _now(transaction: Transaction) -> Mapping[str, object]:
    return {"now": transaction.now, "silence": presence.silence()}


def state_of(row: Row) -> "State.ValueType":
    """Return the state of a module."""
    if not row.lives:
        return pb.MODULE_INACTIVE
    if row.phase == pb.PHASE_TERMINATING:
        return pb.MODULE_TERMINATING
    if row.stopped or row.kind_stopped:
        return pb.MODULE_RUNNING if row.running else pb.MODULE_INACTIVE
    if row.phase == pb.PHASE_INITIALIZING or row.restarting:
        return pb.MODULE_INITIALIZING
    if row.running:
        return pb.MODULE_RUNNING
    return pb.MODULE_ERROR if row.failed or row.set_aside else pb.MODULE_IDLE


def accepts(row: Row) -> bool:
    """Tell whether a module may take work."""
    return not refusal(row)


def refusal(row: Row) -> str:
    """Return why a module takes no work, empty where it does."""
    name = f"module {graph.KINDS[row.kind].name}/{row.name}"
    if row.phase == pb.PHASE_ENDED:
        return f"{name} has ended"
    if row.phase == pb.PHASE_TERMINATING:
        return f"{name} is about to end"
    if row.kind_stopped:
        return f"all modules of kind {graph.KINDS[row.kind].name} are stopped; START_NODE starts them"
    if row.stopped:
        return f"{name} is stopped; START_NODE starts it"
    if row.set_aside:
        return f"{name} is set aside after {row.failures} failures in a row; RESET_NODE or START_NODE bring it back"
    if row.restarting or row.phase == pb.PHASE_INITIALIZING:
        return f"{name} starts, and has not said yet that it spins"
    return ""


_SHARE_GATE = statement("SELECT pg_advisory_xact_lock_shared(hashtextextended(:queue, 2))")
_CLOSE_GATE = statement("SELECT pg_advisory_xact_lock(hashtextextended(:queue, 2))")


def close_gate(transaction: Transaction, deployment: str, kind: int) -> None:
    """Keep modules of a kind from claiming until the transaction ends; taken before any task, in the order of kinds."""
    transaction.connection.execute(_CLOSE_GATE, {"queue": deployments.queue(deployment, kind)})
    transaction.locked()


def check_accepting(transaction: Transaction, task: Task, node: str) -> None:
    """Check that a module may take a task, and keep it so until the transaction ends.

    Raises:
        IncompatibleStatusError: it may not.
    """
    stage = stages.of_task(task)
    transaction.connection.execute(_SHARE_GATE, {"queue": task.queue})
    deployment, _, rest = node.partition("/")
    kind, _, name = rest.partition("/")
    row = find(transaction, stage.deployment, stage.kind, name)
    if row is None or (deployment, kind) != (stage.deployment, graph.KINDS[stage.kind].name):
        raise IncompatibleStatusError(
            f"{node!r} is no module of {stage.deployment}/{graph.KINDS[stage.kind].name}; RegisterModule says what it "
            "is to call itself"
        )
    if reason := refusal(row):
        raise IncompatibleStatusError(reason)


_NODE = statement("SELECT node FROM attempts WHERE task_key = :key AND number = :number")


def running(transaction: Transaction, task: Task) -> str | None:
    """Return the name of the module that runs the last attempt at a stage."""
    parameters = {"key": task.key, "number": task.attempts}
    node = transaction.connection.execute(_NODE, parameters).scalar_one_or_none()
    return None if node is None else str(node).split("/", 2)[-1]


_TELL = statement("""
    UPDATE modules SET told = :state, told_at = :now WHERE deployment = :deployment AND kind = :kind AND name = :name
""")


def refresh(transaction: Transaction, deployment: str, kind: int, name: str, reason: str = "") -> Row | None:
    """Tell of the state of a module where it is another than was told; return its row, locked."""
    row = lock(transaction, deployment, kind, name)
    if row is None:
        return None
    state = state_of(row)
    if state != row.told:
        parameters = {**_of(deployment, kind, name), "state": state, "now": transaction.now}
        transaction.connection.execute(_TELL, parameters)
        event = pb.ModuleStatusEvent(
            deployment=deployment,
            kind=kind,
            replica=name,
            state=state,
            before=row.told,
            reason=reason or refusal(row) or row.reason,
        )
        told.tell(transaction, told.module_key(deployment, kind, name), event)
    return row


_BEGAN = statement("""
    UPDATE modules SET failed = false WHERE deployment = :deployment AND kind = :kind AND name = :name AND failed
""")
_SUCCEEDED = statement("""
    UPDATE modules SET failed = false, failures = 0
    WHERE deployment = :deployment AND kind = :kind AND name = :name AND (failed OR failures > 0)
""")
_FAILED = statement("""
    UPDATE modules
    SET failed = true, failures = failures + 1, set_aside = set_aside OR (:most > 0 AND failures + 1 >= :most)
    WHERE deployment = :deployment AND kind = :kind AND name = :name
""")


def began(transaction: Transaction, deployment: str, kind: int, name: str) -> None:
    """Note that a module runs an attempt."""
    transaction.connection.execute(_BEGAN, _of(deployment, kind, name))
    refresh(transaction, deployment, kind, name)


def left(
    transaction: Transaction, stage: pb.StageTask, name: str, *, failed: bool = False, succeeded: bool = False
) -> None:
    """Note that a module runs an attempt at a stage no more.

    Args:
        transaction: in which it ends.
        stage: which.
        name: of the module.
        failed: whether that was the module's failure; too many in a row set it aside.
        succeeded: whether the stage is Done.
    """
    which = _of(stage.deployment, stage.kind, name)
    if failed:
        most = settings.current().problems_set_aside
        transaction.connection.execute(_FAILED, {**which, "most": most})
    elif succeeded:
        transaction.connection.execute(_SUCCEEDED, which)
    refresh(transaction, stage.deployment, stage.kind, name)


_ATTEMPTS = statement("""
    SELECT stages.kind, replica, problem, iteration, attempt, started_at, slow_at
    FROM stages JOIN task_states ON key = task_key
    WHERE deployment = :deployment AND ended_as IS NULL AND status IN ($DOING)
    ORDER BY started_at, problem, iteration
""")
_WAITING = statement("""
    SELECT stages.kind, count(*) AS count FROM stages JOIN task_states ON key = task_key
    WHERE deployment = :deployment AND ended_as IS NULL AND status IN ($TO_DO) GROUP BY stages.kind
""")

_BEST_FIRST = (
    pb.MODULE_RUNNING,
    pb.MODULE_IDLE,
    pb.MODULE_INITIALIZING,
    pb.MODULE_TERMINATING,
    pb.MODULE_ERROR,
    pb.MODULE_INACTIVE,
)


def state_of_kind(states: Sequence["State.ValueType"]) -> "State.ValueType":
    """Return the state of a kind by those of its modules."""
    return next((state for state in _BEST_FIRST if state in states), pb.MODULE_INACTIVE)


def states_of_kinds(transaction: Transaction, deployment: str) -> Mapping[int, "State.ValueType"]:
    """Return the states of all kinds alone, which is cheap however much waits."""
    deployments.enter(transaction, deployment)
    rows = of_deployment(transaction, deployment)
    return {kind: state_of_kind([state_of(row) for row in rows if row.kind == kind]) for kind in sorted(graph.KINDS)}


def states(transaction: Transaction, deployment: str) -> Sequence[pb.ModuleKind]:
    """Return how all kinds and their modules are, those too that were never seen."""
    deployments.enter(transaction, deployment)
    rows = of_deployment(transaction, deployment)
    present = presence.of_kinds(transaction, deployment)
    at_work = transaction.connection.execute(_ATTEMPTS, {"deployment": deployment}).all()
    waiting = dict(transaction.connection.execute(_WAITING, {"deployment": deployment}).all())
    made = []
    for kind in sorted(graph.KINDS):
        replicas = [_replica(row, at_work) for row in rows if row.kind == kind]
        accepting = any(replica.accepting and replica.present for replica in replicas)
        reason = f"all modules of kind {graph.KINDS[kind].name} are stopped" if present[kind].stopped else ""
        made.append(
            pb.ModuleKind(
                kind=kind,
                state=state_of_kind([replica.state for replica in replicas]),
                accepting=accepting and not present[kind].stopped,
                reason=reason or ("" if present[kind].living else f"no {graph.KINDS[kind].name} node is present"),
                waiting=waiting.get(kind, 0),
                running=sum(row.kind == kind for row in at_work),
                replicas=replicas,
            )
        )
    return made


def _replica(row: Row, at_work: Sequence[Row]) -> pb.Replica:
    state = state_of(row)
    made = pb.Replica(
        name=row.name,
        state=state,
        accepting=row.lives and row.phase == pb.PHASE_SPINNING and accepts(row),
        present=row.lives,
        reason=refusal(row) or row.reason,
        slots=row.slots,
    )
    # Nobody has told yet of a module that fell silent a moment ago.
    told.stamp(made.since, row.told_at if state == row.told else row.heard_at)
    told.stamp(made.last_heard, row.heard_at)
    for each in at_work:
        if (each.kind, each.replica) == (row.kind, row.name):
            attempt = pb.ModuleAttempt(
                task_id=pb.TaskId(problem_id=each.problem, iteration_id=each.iteration), attempt=each.attempt
            )
            told.stamp(attempt.since, each.started_at)
            if each.slow_at is not None:
                told.stamp(attempt.slow_since, each.slow_at)
                made.slow = True
            made.running.append(attempt)
    return made
