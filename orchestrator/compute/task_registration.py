"""The registration of tasks: what they refer to is read and locked in bulk, the rules are applied, all is written."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import islice
from typing import ClassVar
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute import assets, models, organizations, registration, validation
from orchestrator.compute import tasks as compute_tasks
from orchestrator.compute.registration import Registered
from orchestrator.core import pokes, wire
from orchestrator.core.errors import BadRequestError
from orchestrator.core.timestamps import timestamp
from orchestrator.engine import plans, retries, tasks
from orchestrator.engine.tasks import NewTask
from orchestrator.engine.transaction import Transaction

# What is built of a call at a time: its memory does not grow with the call, but for the request and the answer.
_SLICE = 2000
_TASKS = pb.RegisterTasksResponse.DESCRIPTOR.fields_by_name["tasks"].number


class Answer:
    """The answer, whose tasks were serialized one by one; as messages they would take far more memory."""

    message: ClassVar = pb.RegisterTasksResponse

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def add(self, task: bytes) -> None:
        """Add a task, serialized."""
        self._parts.append(wire.field(_TASKS, task))

    def SerializeToString(self) -> bytes:  # noqa: N802 - as protobuf names it
        """Return its bytes."""
        return b"".join(self._parts)


def register(transaction: Transaction, asked: pb.RegisterTasksParam) -> Answer:
    """Register tasks in compute plans of the caller, in any order; answer parents before children."""
    if not asked.tasks:
        raise BadRequestError("tasks: none given")
    for new in asked.tasks:
        validation.check_task(new)
        retries.check_metadata(new.metadata)
        _lower_keys(new)
    graph = registration.graph_of(asked.tasks)
    known = _read(transaction, asked.tasks, graph)
    now = timestamp(transaction.now)
    registered = registration.register(asked.tasks, graph, transaction.organization, known, now)
    parts, several = _parts(registered), len(asked.tasks) > _SLICE
    outer = {UUID(key) for key in known.parents}
    answer = Answer()
    for rows in _ahead(parts) if several else parts:
        tasks.insert_many(transaction, rows, outer.intersection(parent for row in rows for parent in row.parents))
        for row in rows:
            snapshot = row.definition + compute_tasks.state(row.status)
            answer.add(snapshot)
            transaction.events.registered(str(row.key), pb.ASSET_COMPUTE_TASK, snapshot)
            if row.status == pb.STATUS_WAITING_FOR_EXECUTOR_SLOT:
                transaction.pokes.run(row.queue, row.key, 1, row.priority)
        if several:
            transaction.write_part()
    return answer


def _parts(registered: Iterator[Registered]) -> Iterator[list[NewTask]]:
    # The same keys come again and again.
    uuid_of = cache(UUID)
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


def _keys(keys: Iterable[str]) -> list[UUID]:
    return [UUID(key) for key in dict.fromkeys(keys)]


def _read(
    transaction: Transaction, new_tasks: Sequence[pb.NewComputeTask], graph: registration.Graph
) -> registration.Known:
    parent_keys = _keys(parent for above in graph.values() for parent in above if parent not in graph)
    # Function and plan of a task never change, so they may be read before the locks are taken.
    unlocked = compute_tasks.around(transaction, _keys(graph), parent_keys)
    functions = assets.functions.get_many(transaction, _keys(new.function_key for new in new_tasks), share=True)
    of_parents = _keys(task.function_key for task in unlocked if task.function_key not in functions)
    functions |= assets.functions.get_many(transaction, of_parents)
    plan_keys = _keys({new.compute_plan_key for new in new_tasks} | {task.compute_plan_key for task in unlocked})
    held = plans.hold(transaction, plan_keys)
    parents = compute_tasks.get_many(transaction, parent_keys)

    def of_kind(kind: "pb.AssetKind.ValueType") -> list[UUID]:
        return _keys(
            given.asset_key
            for new in new_tasks
            if new.function_key in functions
            for given in new.inputs
            if given.WhichOneof("ref") == "asset_key"
            and given.identifier in functions[new.function_key].inputs
            and functions[new.function_key].inputs[given.identifier].kind == kind
        )

    return registration.Known(
        plans={str(key): plan for key, plan in held.items() if plan.kind == compute_tasks.KIND},
        functions=functions,
        data_managers=assets.data_managers.get_many(transaction, of_kind(pb.ASSET_DATA_MANAGER)),
        data_samples=assets.data_samples.get_many(transaction, of_kind(pb.ASSET_DATA_SAMPLE)),
        models=assets.models.get_many(transaction, of_kind(pb.ASSET_MODEL)),
        parents=parents,
        disabled=models.disabled_parents(transaction, parent_keys),
        organizations=organizations.names(transaction),
    )
