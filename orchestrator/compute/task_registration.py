"""The registration of tasks: what they refer to is read and locked in bulk, the rules are applied, all is written."""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute import assets, models, organizations, registration, validation
from orchestrator.compute import tasks as compute_tasks
from orchestrator.compute.registration import Registered
from orchestrator.core import pokes
from orchestrator.core.errors import BadRequestError
from orchestrator.core.timestamps import timestamp
from orchestrator.engine import plans, retries, tasks
from orchestrator.engine.tasks import NewTask
from orchestrator.engine.transaction import Transaction


def register(transaction: Transaction, asked: pb.RegisterTasksParam) -> pb.RegisterTasksResponse:
    """Register tasks in compute plans of the caller, in any order; answer parents before children."""
    if not asked.tasks:
        raise BadRequestError("tasks: none given")
    for new in asked.tasks:
        validation.check_task(new)
        retries.check_metadata(new.metadata)
        _lower_keys(new)
    tasks.check_new(transaction, _keys(new.key for new in asked.tasks))
    known = _read(transaction, asked.tasks)
    registered = registration.register(asked.tasks, transaction.organization, known, timestamp(transaction.now))
    # The same keys come again and again.
    uuid_of = cache(UUID)
    rows = [_row(new_task, uuid_of) for new_task in registered]
    tasks.insert_many(transaction, rows)
    for new_task, row in zip(registered, rows, strict=True):
        snapshot = row.definition + compute_tasks.state(row.status)
        transaction.events.registered(new_task.task.key, pb.ASSET_COMPUTE_TASK, snapshot)
        if row.status == pb.STATUS_WAITING_FOR_EXECUTOR_SLOT:
            transaction.pokes.run(row.queue, row.key, 1, row.priority)
    return pb.RegisterTasksResponse(tasks=[new_task.task for new_task in registered])


def _row(registered: Registered, uuid_of: Callable[[str], UUID]) -> NewTask:
    task = registered.task
    return NewTask(
        key=uuid_of(task.key),
        kind=compute_tasks.KIND,
        plan=uuid_of(task.compute_plan_key),
        worker=task.worker,
        queue=pokes.queue(task.worker),
        status=task.status,
        definition=registered.definition,
        parents=[uuid_of(parent) for parent in registered.parents],
        pending_parents=registered.pending_parents,
        rank=task.rank,
        requires=uuid_of(task.function_key),
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


def _read(transaction: Transaction, new_tasks: Sequence[pb.NewComputeTask]) -> registration.Known:
    new_keys = {new.key for new in new_tasks}
    parent_keys = _keys(
        parent for new in new_tasks for parent in registration.parent_keys(new) if parent not in new_keys
    )
    # Function and plan of a task never change, so they may be read before the locks are taken.
    unlocked = compute_tasks.get_many(transaction, parent_keys).values()
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
