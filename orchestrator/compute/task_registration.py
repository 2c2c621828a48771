"""The registration of tasks: what they refer to is read and locked in bulk, the rules are applied, all is written."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from itertools import islice
from typing import ClassVar
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute import assets, model_uses, models, organizations, registration, validation
from orchestrator.compute import tasks as compute_tasks
from orchestrator.compute.packed import Packed
from orchestrator.compute.references import References
from orchestrator.core import wire
from orchestrator.core.errors import BadRequestError
from orchestrator.core.timestamps import timestamp
from orchestrator.engine import plans, registrations, retries
from orchestrator.engine.plans import Plan
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
    known = look_up(transaction, references)
    if as_parents:
        makers = compute_tasks.get_many(transaction, _keys(model.compute_task_key for model in known.models.values()))
        known = replace(known, makers=makers)
    now = timestamp(transaction.now)
    registered = registration.register(new, references.graph, transaction.organization, known, now)
    parts = _parts(registered)
    for part in _ahead(parts) if len(new) > _SLICE else parts:
        outer = known.parents.keys() & {parent for task in part for parent in task.parents} if known.parents else ()
        registrations.write(transaction, compute_tasks.KIND, part, outer)
        for task in part:
            yield task.definition + compute_tasks.state(task.status)
    if known.models:
        model_uses.note(transaction, _uses(new, known))


def _uses(new: Packed, known: registration.Known) -> Iterator[tuple[UUID, UUID]]:
    """Yield each model that is given by its key, with the task that uses it."""
    for task in new.values():
        for given in task.inputs:
            if given.asset_key in known.models:
                yield UUID(given.asset_key), UUID(task.key)


def _parts(registered: Iterator[NewTask]) -> Iterator[list[NewTask]]:
    while part := list(islice(registered, _SLICE)):
        yield part


def _ahead(parts: Iterator[list[NewTask]]) -> Iterator[list[NewTask]]:
    """Yield them, each while the next is made in a thread: Postgres works at the same time."""
    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(next, parts, None)
        while (part := coming.result()) is not None:
            coming = maker.submit(next, parts, None)
            yield part


def _keys(keys: Iterable[str]) -> list[UUID]:
    return [UUID(key) for key in dict.fromkeys(keys)]


def look_up(transaction: Transaction, references: References, to_come: Plan | None = None) -> registration.Known:
    """Return what tasks refer to outside of their call, locked until the transaction ends.

    Args:
        transaction: of the caller.
        references: of the tasks.
        to_come: where given, the plan that is not there yet and that they would belong to: nothing is locked then.

    Raises:
        ConflictError: one of the tasks is there already.
    """
    locks, graph = to_come is None, references.graph
    parent_keys = _keys(parent for above in graph.values() for parent in above if parent not in graph)
    # Function and plan of a task never change, so they may be read before the locks are taken.
    unlocked = compute_tasks.around(transaction, graph.keys(), parent_keys)
    functions = assets.functions.get_many(transaction, _keys(references.functions), share=locks)
    of_parents = _keys(task.function_key for task in unlocked if task.function_key not in functions)
    functions |= assets.functions.get_many(transaction, of_parents)
    if to_come is None:
        held = plans.hold(transaction, _keys(references.plans.keys() | {task.compute_plan_key for task in unlocked}))
    else:
        held = {to_come.key: to_come}
    parents = compute_tasks.get_many(transaction, parent_keys)
    given = _given(references, functions)
    return registration.Known(
        plans={str(key): plan for key, plan in held.items() if plan.kind == compute_tasks.KIND},
        functions=functions,
        data_managers=assets.data_managers.get_many(transaction, given[pb.ASSET_DATA_MANAGER]),
        data_samples=assets.data_samples.get_many(transaction, given[pb.ASSET_DATA_SAMPLE]),
        # A transient one is not disabled between the look at it and the note that it is used.
        models=assets.models.get_many(transaction, given[pb.ASSET_MODEL], share=locks),
        parents=parents,
        disabled=models.disabled_parents(transaction, parent_keys),
        organizations=organizations.names(transaction),
    )


def _given(
    references: References, functions: Mapping[str, pb.Function]
) -> Mapping["pb.AssetKind.ValueType", list[UUID]]:
    """Return the keys of the assets that tasks are given, by their kinds."""
    found: defaultdict[pb.AssetKind.ValueType, dict[str, None]] = defaultdict(dict)
    for (function, identifier), keys in references.assets.items():
        if function in functions and identifier in functions[function].inputs:
            found[functions[function].inputs[identifier].kind] |= keys
    return defaultdict(list, {kind: _keys(keys) for kind, keys in found.items()})
