"""Compute tasks, as the contract has them: reading them."""

from collections.abc import Collection
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.core.errors import NotFoundError
from orchestrator.core.fields import parse_key
from orchestrator.engine import tasks
from orchestrator.engine.tasks import Task
from orchestrator.engine.transaction import Transaction
from orchestrator.store.pages import Page

KIND = "compute"
"""The kind of work, as rows name it."""

_STATUS_TAG = pb.ComputeTask(status=pb.STATUS_DONE).SerializeToString()[:1]


def state(status: int) -> bytes:
    """Return the field of a task that says its state, serialized."""
    return _STATUS_TAG + bytes((status,))


def to_message(task: Task) -> pb.ComputeTask:
    """Return a task as the contract has it."""
    return pb.ComputeTask.FromString(task.definition + state(task.status))


def get(transaction: Transaction, key: UUID) -> pb.ComputeTask:
    """Return a task of this channel.

    Raises:
        NotFoundError: the channel has none with this key.
    """
    return to_message(row(transaction, key))


def row(transaction: Transaction, key: UUID) -> Task:
    """Return the row of a task of this channel.

    Raises:
        NotFoundError: the channel has none with this key, or one of another kind of work.
    """
    return _compute(tasks.get(transaction, key))


def get_many(transaction: Transaction, keys: Collection[UUID]) -> dict[str, pb.ComputeTask]:
    """Return those tasks of this channel that exist, by key."""
    found = tasks.get_many(transaction, keys)
    return {str(key): to_message(task) for key, task in found.items() if task.kind == KIND}


def around(transaction: Transaction, new: Collection[str], parents: Collection[UUID]) -> list[pb.ComputeTask]:
    """Check that tasks are new; return those of their parents that exist in this channel.

    Raises:
        ConflictError: one of the new ones is there.
    """
    found = tasks.around(transaction, new, parents).values()
    return [to_message(task) for task in found if task.kind == KIND]


def get_for_update(transaction: Transaction, key: UUID) -> tuple[pb.ComputeTask, bool]:
    """Return a task, locked until the transaction ends, and whether a tokened attempt runs it.

    Raises:
        NotFoundError: the channel has none with this key.
    """
    task, by_attempt = tasks.get_for_update(transaction, key)
    return to_message(_compute(task)), by_attempt


def _compute(task: Task) -> Task:
    if task.kind != KIND:
        raise NotFoundError(f"task {task.key} does not exist")
    return task


def show(transaction: Transaction, wanted: pb.GetTaskParam) -> pb.ComputeTask:
    """Answer GetTask: return a task."""
    return get(transaction, parse_key(wanted.key))


def query(transaction: Transaction, wanted: pb.QueryTasksParam) -> pb.QueryTasksResponse:
    """Answer QueryTasks: list tasks of a worker, in a state, of a compute plan, of a function, where asked."""
    asked: dict[str, object] = {}
    if wanted.filter.worker:
        asked["worker"] = wanted.filter.worker
    if wanted.filter.status:
        asked["status"] = wanted.filter.status
    for field, column in (("compute_plan_key", "plan_key"), ("function_key", "requires")):
        if key := getattr(wanted.filter, field):
            asked[column] = parse_key(key, f"filter.{field}")
    found, token = tasks.page(transaction, Page(wanted.page_token, wanted.page_size), kind=KIND, **asked)
    return pb.QueryTasksResponse(tasks=map(to_message, found), next_page_token=token)
