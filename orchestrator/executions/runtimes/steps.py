"""Steps: what is done to run executions, each a task of the engine, and what the workers of steps are told."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID, uuid4

from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.core import states
from orchestrator.core.kinds import EXECUTION_STEP
from orchestrator.engine import plans, tasks
from orchestrator.engine.tasks import NewTask, Task
from orchestrator.engine.transaction import Transaction
from orchestrator.store.statements import statement

KIND = "executions"
"""The name of the kind of work."""

_RUNTIME = "executions."


def runtime_queue(organization: str) -> str:
    """Return the queue of the runtimes of the organization that runs executions."""
    return f"{_RUNTIME}{organization}"


@dataclass(frozen=True)
class NewStep:
    """A step that is to be registered.

    Args:
        role: what it does.
        work: what its worker is told; None where no worker runs it.
        worker: the organization whose worker runs it.
        queue: which that worker reads.
        name: what the workflow calls it, empty where it is not of one.
        parents: the keys of its parents, each once; they are registered with it.
        rank: how deep it lies in the graph, 0 without a parent.
        retries: when it is tried again, in the words of the engine's metadata.
        time_limit: of one run of it, in seconds; 0 without a limit.
        about: the execution that it is about, where its plan is of none.
        key: of its task.
    """

    role: "pb.StepRole.ValueType"
    work: Message | None
    worker: str
    queue: str
    name: str = ""
    parents: Sequence[UUID] = ()
    rank: int = 0
    retries: Mapping[str, str] = field(default_factory=dict)
    time_limit: float = 0.0
    about: int = 0
    key: UUID = field(default_factory=uuid4)


_KEEP_WORK = statement("""
    INSERT INTO execution_works (task, execution, work)
    SELECT task, :execution, work
    FROM unnest(CAST(:tasks AS uuid[]), CAST(:works AS bytea[])) AS kept (task, work)
""")


def register(transaction: Transaction, plan: UUID, execution: int, new: Sequence[NewStep]) -> None:
    """Keep a new plan, with all its steps.

    Args:
        transaction: of whoever wants it.
        plan: its key.
        execution: whose, 0 for nobody's: what its workers are told goes with it.
        new: the steps, parents before children.
    """
    plans.register(transaction, plan, KIND)
    made = [_task(transaction, plan, execution, step) for step in new]
    tasks.insert_many(transaction, made, outer=())
    kept = [step for step in new if step.work is not None]
    works = [_packed(step.work) for step in kept if step.work is not None]
    transaction.connection.execute(
        _KEEP_WORK, {"execution": execution, "tasks": [step.key for step in kept], "works": works}
    )
    for step, task in zip(new, made, strict=True):
        transaction.events.registered(str(task.key), EXECUTION_STEP, task.definition + state(task.status))
        if not task.parents and step.work is not None:
            transaction.pokes.run(task.queue, step.key, 1, task.priority)


def _task(transaction: Transaction, plan: UUID, execution: int, step: NewStep) -> NewTask:
    definition = pb.ExecutionStep(
        key=str(step.key),
        plan=str(plan),
        owner=transaction.organization,
        execution=execution or step.about,
        role=step.role,
        name=step.name,
        retries=step.retries,
        time_limit_seconds=step.time_limit,
    )
    return NewTask(
        key=step.key,
        kind=KIND,
        plan=plan,
        worker=step.worker,
        queue=step.queue,
        status=states.ready_status(len(step.parents)),
        definition=definition.SerializeToString(deterministic=True),
        parents=step.parents,
        pending_parents=len(step.parents),
        rank=step.rank,
    )


_RETRIES = {
    "orchestrator.retry.internal.attempts": "1000",
    "orchestrator.retry.lost.attempts": "1000",
    "orchestrator.retry.backoff": "2",
}
"""Of what must be done one day."""


Sent: TypeAlias = "tuple[int, pb.StepRole.ValueType, Message]"
"""The execution that a step is about, its role, and what the runtime is told."""


def send(transaction: Transaction, worker: str, works: Sequence[Sent]) -> None:
    """Have a runtime do what outlives the executions that it is about.

    Args:
        transaction: of whoever wants it.
        worker: the organization whose runtime it is.
        works: of each step.
    """
    queue = runtime_queue(worker)
    new = [NewStep(role, work, worker, queue, retries=_RETRIES, about=about) for about, role, work in works]
    if new:
        register(transaction, uuid4(), 0, new)


def _packed(work: Message) -> bytes:
    packed = Any()
    packed.Pack(work)
    return packed.SerializeToString()


def state(status: "states.TaskStatus") -> bytes:
    """Return what says a state when it is appended to a definition."""
    return pb.ExecutionStep(status=status).SerializeToString()


def of(task: Task) -> pb.ExecutionStep:
    """Return a task as a step, without its state."""
    return pb.ExecutionStep.FromString(task.definition)


_WORK = statement("SELECT work FROM execution_works WHERE task = :task")
_FORGET = statement("DELETE FROM execution_works WHERE task = ANY(CAST(:tasks AS uuid[]))")


def work(transaction: Transaction, task: UUID) -> bytes | None:
    """Return what the worker of a step is told, packed; None once it has ended."""
    found: bytes | None = transaction.connection.execute(_WORK, {"task": task}).scalar_one_or_none()
    return found


def forget(transaction: Transaction, ended: Collection[UUID]) -> None:
    """Keep no more what the workers of steps were told."""
    transaction.connection.execute(_FORGET, {"tasks": list(ended)})
