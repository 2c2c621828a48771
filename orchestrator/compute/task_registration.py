"""The registration of tasks: what they refer to is read and locked in bulk, the rules are applied, all is written."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from itertools import chain, islice, repeat
from typing import ClassVar
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute import lookup, model_uses, registration, validation
from orchestrator.compute import tasks as compute_tasks
from orchestrator.compute.packed import Packed
from orchestrator.compute.references import References
from orchestrator.core import wire
from orchestrator.core.errors import BadRequestError
from orchestrator.core.states import TERMINAL
from orchestrator.core.timestamps import timestamp
from orchestrator.engine import registrations, retries
from orchestrator.engine.tasks import NewTask
from orchestrator.engine.transaction import Transaction

# What is built of a call at a time: its memory does not grow with the call, but for the request and the answer.
_SLICE = 1000
_TASKS = pb.RegisterTasksResponse.DESCRIPTOR.fields_by_name["tasks"].number


class Answer:
    """The answer, whose tasks were serialized one by one; as messages they would take far more memory."""

    message: ClassVar = pb.RegisterTasksResponse

    def __init__(self) -> None:
        self._tasks = BytesIO()

    def add(self, task: bytes) -> None:
        """Add a task, serialized."""
        self._tasks.write(wire.field(_TASKS, task))

    def SerializeToString(self) -> bytes:  # noqa: N802 - as protobuf names it
        """Return its bytes."""
        return self._tasks.getvalue()


def register(transaction: Transaction, asked: Iterable[pb.RegisterTasksParam]) -> Answer:
    """Register tasks in compute plans of the caller, in any order; answer parents before children.

    Args:
        transaction: of the caller.
        asked: all tasks, in parts.
    """
    packed = Packed()
    references = References(_packing(packed, asked))
    if not packed:
        raise BadRequestError("tasks: none given")
    answer = Answer()
    for snapshot in write(transaction, packed, references):
        answer.add(snapshot)
    return answer


def _packing(packed: Packed, asked: Iterable[pb.RegisterTasksParam]) -> Iterator[pb.NewComputeTask]:
    """Yield tasks when they are checked and packed."""
    for part in asked:
        for new in part.tasks:
            prepare(new)
            packed.add(new)
            yield new


def prepare(new: pb.NewComputeTask) -> None:
    """Check a task by itself, and spell its keys as they are stored.

    Raises:
        InvalidAssetError: it breaks a rule.
    """
    validation.check_task(new)
    if new.metadata:
        retries.check_metadata(new.metadata)


def write(
    transaction: Transaction,
    new: Packed,
    references: References,
    *,
    as_parents: bool = False,
) -> Iterator[bytes]:
    """Keep tasks of the caller, with their events and their pokes; yield them as they are stored, parents first.

    Args:
        transaction: of the caller.
        new: by their keys, prepared.
        references: theirs.
        as_parents: see `submissions.keep`.

    Raises:
        OrchestratorError: the contract's error for the first rule that one of them breaks; nothing is to be kept then.
    """
    known = lookup.look_up(transaction, references)
    if as_parents:
        makers = lookup.keys_of(model.compute_task_key for model in known.models.values())
        known = replace(known, makers=compute_tasks.get_many(transaction, makers))
    kept = False
    while not kept:
        for part in _kept(transaction, new, references, known):
            kept = True
            for task in part:
                yield task.definition + compute_tasks.state(task.status)
        if not kept:
            known = lookup.seen_again(transaction, known)
    if known.models:
        model_uses.note(transaction, _uses(new, known))


def _kept(
    transaction: Transaction, new: Packed, references: References, known: registration.Known
) -> Iterator[Sequence[NewTask]]:
    """Keep tasks, and yield them, all in all; none where a parent has ended since it was seen."""
    now = timestamp(transaction.now)
    registered = registration.register(new, references.graph, transaction.organization, known, now)
    outer = {key for key, parent in known.parents.items() if parent.status not in TERMINAL}
    if len(new) > _SLICE // 4:
        yield from registrations.write_ahead(transaction, compute_tasks.KIND, _parts(registered, len(new)), outer)
    elif registrations.write(transaction, compute_tasks.KIND, tasks := list(registered), outer):
        yield tasks


def _uses(new: Packed, known: registration.Known) -> Iterator[tuple[UUID, UUID]]:
    """Yield each model that is given by its key, with the task that uses it."""
    for task in new.values():
        for given in task.inputs:
            if given.asset_key in known.models:
                yield UUID(given.asset_key), UUID(task.key)


def _parts(registered: Iterator[NewTask], count: int) -> Iterator[list[NewTask]]:
    """Yield tasks in parts; the first are halves, since Postgres has nothing to do before it has one."""
    half = (min(count, _SLICE) + 1) // 2
    for size in chain((half, half), repeat(_SLICE)):
        if not (part := list(islice(registered, size))):
            return
        yield part
