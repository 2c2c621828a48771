"""Runs on workers: each container of a workflow is a step on the queue of a data partner, or of the central node.

A run is over when all its containers are done, or when one has failed for good: then the others are cancelled. Then its
exit handler runs, if it has one, which knows how the run ended; and what nobody has reported of by then has failed.
"""

from collections.abc import Mapping
from typing import Any as Json
from uuid import UUID

from google.protobuf.any_pb2 import Any

from orchestrator import protos as pb
from orchestrator.engine import completions, plans, tasks
from orchestrator.engine.kinds import Failure
from orchestrator.engine.tasks import Task
from orchestrator.engine.transaction import Transaction
from orchestrator.executions import executions, states
from orchestrator.executions.graph import containers, workflow
from orchestrator.executions.graph.containers import Container
from orchestrator.executions.runtimes import adapters, runs, starting, steps
from orchestrator.executions.runtimes.roles import Quiet
from orchestrator.executions.runtimes.steps import NewStep
from orchestrator.executions.settings import ExecutionSettings
from orchestrator.executions.tasks import gang_rows, placement, task_steps
from orchestrator.executions.tasks.placement import Place
from orchestrator.executions.tasks.task_steps import END, EXIT_END
from orchestrator.store.connection import Row
from orchestrator.store.statements import statement

SUCCEEDED, FAILED = "Succeeded", "Failed"
"""What stands for `{{workflow.status}}`."""

_INSERT = statement("""
    INSERT INTO task_runs (plan, execution, channel, exit_gate) VALUES (:plan, :execution, :channel, :exit_gate)
""")


def begin(
    transaction: Transaction, execution: pb.Execution, manifest: Mapping[str, Json], settings: ExecutionSettings
) -> None:
    """Have workers run a new execution, from the commit on.

    Args:
        transaction: that keeps it.
        execution: with its id and its dates.
        manifest: of its workflow.
        settings: of executions.

    Raises:
        OutsideError: its workflow cannot be run so.
    """
    read = workflow.read(manifest)
    name = f"{read.name}{execution.id}"
    federated = execution.number_iterations > 0
    central = settings.executions_organization or transaction.organization
    run = containers.of(read, name)

    def place(each: Container) -> Place:
        return placement.of(each.node_selector, central, settings, f'"{each.name}"')

    with_topics = federated and settings.executions_runtime == "on"
    made = task_steps.of(
        execution.id,
        run,
        lambda gate: containers.on_exit(read, name, _status_of(gate)),
        place,
        Place.of(central),
        together=federated,
        before=_topics(execution, central, settings) if with_topics else None,
    )
    adapter = adapters.name(execution) if with_topics else ""
    plan, _ = runs.insert(transaction, execution, central, runs.TASKS, adapter)
    steps.register(transaction, plan, execution.id, made.new)
    kept = {"plan": plan, "execution": execution.id, "channel": transaction.channel, "exit_gate": made.exit_gate}
    transaction.connection.execute(_INSERT, kept)
    gang_rows.insert(transaction, plan, made.gangs)


def _topics(execution: pb.Execution, central: str, settings: ExecutionSettings) -> NewStep:
    """Return the step that makes the topics of a federated run, and places no workflow."""
    work = pb.StartWork(execution=execution.id, communication_adapter=adapters.name(execution))
    return starting.step_of(work, central, settings)


def _status_of(gate: UUID) -> str:
    """Return what stands for the status of a run as long as nobody knows it, and in no value of it."""
    return f"{{{{workflow.status {gate}}}}}"


class Containers(Quiet[pb.ContainerDone]):
    """Steps that run containers."""

    def __init__(self) -> None:
        super().__init__(pb.ContainerDone)

    def fail(self, transaction: Transaction, step: pb.ExecutionStep, failure: Failure) -> None:
        """Note why the run fails."""
        said = failure.report.reason if failure.report else "its worker was lost, again and again"
        transaction.connection.execute(
            _NOTE_REASON, {"plan": step.plan, "reason": f"step {step.name} failed{f': {said}' if said else ''}"}
        )

    def ended(self, transaction: Transaction, task: Task, step: pb.ExecutionStep) -> None:
        """See whether the run, or its exit handler, is over."""
        if task.status == pb.STATUS_DONE:
            _follow_done(transaction, task, step)
        elif task.status == pb.STATUS_FAILED:
            fail(transaction, task.plan)


_NOTE_REASON = statement("UPDATE task_runs SET reason = :reason WHERE plan = :plan AND reason IS NULL")
_OVER = statement("""
    UPDATE task_runs SET outcome = :outcome WHERE plan = :plan AND outcome IS NULL
    RETURNING execution, exit_gate, reason
""")
_GET = statement("SELECT execution, exit_gate, reason, outcome FROM task_runs WHERE plan = :plan")
_READY_GATES = statement(
    """
    SELECT $COLUMNS FROM (SELECT $RETURNED FROM edges JOIN tasks ON tasks.key = child
                          JOIN task_states ON task_states.key = child
                          WHERE parent = :key AND queue = '' AND status = $TO_DO) AS gate
    """,
    COLUMNS=tasks.COLUMNS,
    RETURNED=tasks.RETURNED,
)


def _follow_done(transaction: Transaction, task: Task, step: pb.ExecutionStep) -> None:
    for gate in tasks.of_rows(transaction.connection.execute(_READY_GATES, {"key": task.key})):
        name = steps.of(gate).name
        if name == END:
            completions.complete_unclaimed(transaction, gate.key, "all containers are done")
            row = _over(transaction, task.plan, pb.STATUS_DONE)
            if row is not None and row.exit_gate is not None:
                _open_exit(transaction, step.execution, row.exit_gate, SUCCEEDED)
            else:
                _close(transaction, task.plan)
        if name == EXIT_END:
            completions.complete_unclaimed(transaction, gate.key, "the exit handler is done")
            _close(transaction, task.plan)


def fail(transaction: Transaction, plan: UUID) -> None:
    """End a run that has failed: its other containers are cancelled, and its exit handler runs, if it did not yet.

    Args:
        transaction: holds the latch of its plan.
        plan: of its steps.
    """
    row = _over(transaction, plan, pb.STATUS_FAILED)
    if row is None or row.exit_gate is None:
        row = row or transaction.connection.execute(_GET, {"plan": plan}).one_or_none()
        if row is not None and plans.end(transaction, plan, pb.STATUS_FAILED):
            plans.cancel(transaction, plans.lock_live(transaction, plan), row.reason or "its run has failed")
            _close(transaction, plan)
        return
    live = plans.lock_live(transaction, plan, spared=_exit_steps(transaction, row.exit_gate))
    plans.cancel(transaction, live, row.reason or "its run has failed")
    _open_exit(transaction, row.execution, row.exit_gate, FAILED)


def _over(transaction: Transaction, plan: UUID, outcome: int) -> Row | None:
    """Note how a run ended, but for its exit handler; return None where it had ended before."""
    found: Row | None = transaction.connection.execute(_OVER, {"plan": plan, "outcome": outcome}).one_or_none()
    return found


_BELOW = """
    WITH RECURSIVE below (key) AS (
        SELECT CAST(:gate AS uuid) UNION SELECT child FROM below JOIN edges ON parent = below.key
    )
"""
_EXIT_STEPS = statement("$BELOW SELECT key FROM below", BELOW=_BELOW)
_EXIT_WORKS = statement("$BELOW SELECT task, work FROM execution_works JOIN below ON task = below.key", BELOW=_BELOW)
_REWRITE = statement("""
    UPDATE execution_works SET work = told.work
    FROM unnest(CAST(:tasks AS uuid[]), CAST(:works AS bytea[])) AS told (task, work)
    WHERE execution_works.task = told.task
""")


def _exit_steps(transaction: Transaction, gate: UUID) -> list[UUID]:
    return list(transaction.connection.execute(_EXIT_STEPS, {"gate": gate}).scalars())


def _open_exit(transaction: Transaction, execution: int, gate: UUID, status: str) -> None:
    """Have the exit handler run, and tell its containers how the run ended."""
    unknown = _status_of(gate)
    told = {
        row.task: _told(row.work, unknown, status)
        for row in transaction.connection.execute(_EXIT_WORKS, {"gate": gate})
    }
    transaction.connection.execute(_REWRITE, {"tasks": list(told), "works": list(told.values())})
    completions.complete_unclaimed(transaction, gate, f"the run of execution {execution} has {status.lower()}")


def _told(packed: bytes, unknown: str, status: str) -> bytes:
    kept, work = Any.FromString(packed), pb.ContainerWork()
    kept.Unpack(work)
    known = pb.ContainerWork(
        execution=work.execution,
        step=work.step,
        image=work.image.replace(unknown, status),
        command=[text.replace(unknown, status) for text in work.command],
        args=[text.replace(unknown, status) for text in work.args],
        env={name.replace(unknown, status): text.replace(unknown, status) for name, text in work.env.items()},
    )
    kept.Pack(known)
    return kept.SerializeToString()


_NOTE_OVER = statement("UPDATE task_runs SET over_at = :now WHERE plan = :plan")


def _close(transaction: Transaction, plan: UUID) -> None:
    """Note that all of a run is over. One that has failed was not reported of, or it was before; another may be yet."""
    gang_rows.forget(transaction, plan)
    row = transaction.connection.execute(_GET, {"plan": plan}).one_or_none()
    if row is None:
        return
    if row.outcome == pb.STATUS_FAILED or row.reason is not None:
        executions.fail(transaction, row.execution, row.reason or "its run has failed", states.LIVING)
    else:
        transaction.connection.execute(_NOTE_OVER, {"plan": plan, "now": transaction.now})


_FORGET_OVER = statement("UPDATE task_runs SET over_at = NULL WHERE plan = :plan")


def fail_unreported(transaction: Transaction, plan: UUID) -> bool:
    """Fail the execution of a run that is over, if nobody has reported how it ended; return whether nobody had."""
    row = transaction.connection.execute(_GET, {"plan": plan}).one_or_none()
    if row is None:
        return False
    reason = "all its containers ended, and nothing was reported of it"
    unreported = executions.fail(transaction, row.execution, reason, states.LIVING)
    transaction.connection.execute(_FORGET_OVER, {"plan": plan})
    return unreported


def give_up(transaction: Transaction, plan: UUID, reason: str) -> None:
    """Fail a run none of whose containers could start together.

    Args:
        transaction: of nobody, in its channel.
        plan: of its steps.
        reason: why, for people.
    """
    plans.hold(transaction, [plan])
    transaction.connection.execute(_NOTE_REASON, {"plan": plan, "reason": reason})
    fail(transaction, plan)
