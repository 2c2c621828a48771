"""The registration of tasks: what they refer to is read and locked in bulk, the rules are applied, all is written."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from io import BytesIO
from itertools import islice
from typing import ClassVar
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute import lookup, model_uses, registration, validation
from orchestrator.compute import tasks as compute_tasks
from orchestrator.compute.packed import Packed
from orchestrator.compute.references import References
from orchestrator.compute.registration import Registered
from orchestrator.core import pokes, wire
from orchestrator.core.errors import BadRequestError
from orchestrator.core.timestamps import timestamp
from orchestrator.engine import registrations, retries, tasks
from orchestrator.engine.tasks import NewTask
from orchestrator.engine.transaction import Transaction

# What is built of a call at a time: its memory does not grow with the call, but for the request and the answer.
_SLICE = 2000
# Of the keys that were met last: a parent lies a round or two before its children.
_NEAR = 16 * 1024
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
    retries.check_metadata(new.metadata)
    _lower_keys(new)


def write(
    transaction: Transaction,
    new: Mapping[str, pb.NewComputeTask],
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
    if len(new) > _SLICE or transaction.events:
        yield from _in_parts(transaction, new, references, lookup.seen_again(transaction, known))
    else:
        yield from _at_once(transaction, new, references, known)
    if known.models:
        model_uses.note(transaction, _uses(new, known))


def _registered(
    transaction: Transaction,
    new: Mapping[str, pb.NewComputeTask],
    references: References,
    known: registration.Known,
) -> Iterator[Registered]:
    now = timestamp(transaction.now)
    return registration.register(new, references.graph, transaction.organization, known, now)


def _at_once(
    transaction: Transaction,
    new: Mapping[str, pb.NewComputeTask],
    references: References,
    known: registration.Known,
) -> Iterator[bytes]:
    """Write tasks, and all that tells of them, in one statement."""
    (rows,) = _parts(_registered(transaction, new, references, known))
    while not registrations.register(
        transaction, compute_tasks.KIND, rows, {UUID(key): task.status for key, task in known.parents.items()}
    ):
        known = lookup.seen_again(transaction, known)
        (rows,) = _parts(_registered(transaction, new, references, known))
    return (row.definition + compute_tasks.state(row.status) for row in rows)


def _in_parts(
    transaction: Transaction,
    new: Mapping[str, pb.NewComputeTask],
    references: References,
    known: registration.Known,
) -> Iterator[bytes]:
    """Write tasks that are very many, or of which is told after something else."""
    parts, several = _parts(_registered(transaction, new, references, known)), len(new) > _SLICE
    outer = {UUID(key) for key in known.parents}
    for rows in _ahead(parts) if several else parts:
        tasks.insert_many(transaction, rows, outer.intersection(parent for row in rows for parent in row.parents))
        for row in rows:
            snapshot = row.definition + compute_tasks.state(row.status)
            transaction.events.registered(str(row.key), pb.ASSET_COMPUTE_TASK, snapshot)
            if row.status == pb.STATUS_WAITING_FOR_EXECUTOR_SLOT:
                transaction.pokes.run(row.queue, row.key, 1, row.priority)
            yield snapshot
        if several:
            transaction.write_part()


def _uses(new: Mapping[str, pb.NewComputeTask], known: registration.Known) -> Iterator[tuple[UUID, UUID]]:
    """Yield each model that is given by its key, with the task that uses it."""
    for task in new.values():
        for given in task.inputs:
            if given.asset_key in known.models:
                yield UUID(given.asset_key), UUID(task.key)


def _parts(registered: Iterator[Registered]) -> Iterator[list[NewTask]]:
    # The same keys come again and again, soon.
    uuid_of = lru_cache(_NEAR)(UUID)
    while part := [_row(each, uuid_of) for each in islice(registered, _SLICE)]:
        yield part


def _ahead(parts: Iterator[list[NewTask]]) -> Iterator[list[NewTask]]:
    """Yield them, each while the next is made in a thread: Postgres works at the same time."""
    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(next, parts, None)
        while (part := coming.result()) is not None:
            coming = maker.submit(next, parts, None)
            yield part


def _row(registered: Registered, uuid_of: Callable[[str], UUID]) -> NewTask:
    return NewTask(
        key=uuid_of(registered.new.key),
        kind=compute_tasks.KIND,
        plan=uuid_of(registered.new.compute_plan_key),
        worker=registered.worker,
        queue=pokes.queue(registered.worker),
        status=registered.status,
        definition=registered.definition,
        parents=[uuid_of(parent) for parent in registered.parents],
        pending_parents=registered.pending_parents,
        rank=registered.rank,
        requires=uuid_of(registered.new.function_key),
    )


def _lower_keys(new: pb.NewComputeTask) -> None:
    new.key = new.key.lower()
    new.function_key = new.function_key.lower()
    new.compute_plan_key = new.compute_plan_key.lower()
    for given in new.inputs:
        if given.WhichOneof("ref") == "asset_key":
            given.asset_key = given.asset_key.lower()
        else:
            ref = given.parent_task_output
            ref.parent_task_key = ref.parent_task_key.lower()
