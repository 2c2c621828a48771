"""Tasks: their registration, and reading them."""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import select, text

from orchestrator import protos as pb
from orchestrator.core.errors import ConflictError, NotFoundError
from orchestrator.engine.graph import Registered
from orchestrator.engine.transaction import Transaction
from orchestrator.store import pages, tables
from orchestrator.store.statements import any_key

_STATUS_TAG = pb.ComputeTask(status=pb.STATUS_DONE).SerializeToString()[:1]


def to_message(definition: bytes, status: int) -> pb.ComputeTask:
    """Return a task as the contract has it, from the columns `message` and `status`."""
    # A later field wins in protobuf, so the status is appended to the definition, which never changes.
    return pb.ComputeTask.FromString(definition + _STATUS_TAG + bytes((status,)))


def check_new(transaction: Transaction, keys: Collection[UUID]) -> None:
    """Check that no task bears any of these keys, in this channel or in another.

    Raises:
        ConflictError: one does.
    """
    query = select(tables.tasks.c.key).where(tables.tasks.c.key == any_key(keys)).limit(1)
    taken = transaction.connection.execute(query).scalar_one_or_none()
    if taken:
        raise ConflictError(f"task {taken} exists already")


_INSERT = text("""
    INSERT INTO tasks (key, channel, owner, created_at, message, plan_key, function_key, worker, rank, status,
                       pending_parents, poked_at)
    SELECT key, :channel, :organization, :now, message, plan_key, function_key, worker, rank, status,
           pending_parents, CASE WHEN status = 2 THEN CAST(:now AS timestamptz) END
    FROM unnest(CAST(:keys AS uuid[]), CAST(:messages AS bytea[]), CAST(:plan_keys AS uuid[]),
                CAST(:function_keys AS uuid[]), CAST(:workers AS text[]), CAST(:ranks AS int[]),
                CAST(:statuses AS smallint[]), CAST(:pending_parents AS int[]))
         AS task (key, message, plan_key, function_key, worker, rank, status, pending_parents)
""")
_INSERT_EDGES = text("""
    INSERT INTO edges (parent, child)
    SELECT parent, child FROM unnest(CAST(:parents AS uuid[]), CAST(:children AS uuid[])) AS edge (parent, child)
""")


def insert_many(transaction: Transaction, registered: Sequence[Registered]) -> None:
    """Keep new tasks of the caller, and their edges; in two statements, however many they are."""
    tasks = [new.task for new in registered]
    transaction.connection.execute(
        _INSERT,
        {
            "channel": transaction.channel,
            "organization": transaction.organization,
            "now": transaction.now,
            "keys": [UUID(task.key) for task in tasks],
            "messages": [_definition(task) for task in tasks],
            "plan_keys": [UUID(task.compute_plan_key) for task in tasks],
            "function_keys": [UUID(task.function_key) for task in tasks],
            "workers": [task.worker for task in tasks],
            "ranks": [task.rank for task in tasks],
            "statuses": [task.status for task in tasks],
            "pending_parents": [new.pending_parents for new in registered],
        },
    )
    edges = [(UUID(parent), UUID(new.task.key)) for new in registered for parent in new.parents]
    if edges:
        parents, children = zip(*edges, strict=True)
        transaction.connection.execute(_INSERT_EDGES, {"parents": list(parents), "children": list(children)})


def _definition(task: pb.ComputeTask) -> bytes:
    definition = pb.ComputeTask()
    definition.CopyFrom(task)
    definition.ClearField("status")
    return definition.SerializeToString()


def get(transaction: Transaction, key: UUID) -> pb.ComputeTask:
    """Return a task of this channel.

    Raises:
        NotFoundError: the channel has none with this key.
    """
    found = get_many(transaction, [key])
    if not found:
        raise NotFoundError(f"task {key} does not exist")
    return found[str(key)]


def get_many(transaction: Transaction, keys: Collection[UUID]) -> dict[str, pb.ComputeTask]:
    """Return those tasks of this channel that exist, by key."""
    if not keys:
        return {}
    table = tables.tasks.c
    query = select(table.key, table.message, table.status).where(
        table.key == any_key(keys), table.channel == transaction.channel
    )
    return {str(row.key): to_message(row.message, row.status) for row in transaction.connection.execute(query)}


def get_for_update(transaction: Transaction, key: UUID) -> tuple[pb.ComputeTask, bool]:
    """Return a task, locked until the transaction ends, and whether a tokened attempt runs it.

    Raises:
        NotFoundError: the channel has none with this key.
    """
    table = tables.tasks.c
    query = (
        select(table.message, table.status, table.token_hash)
        .where(table.key == key, table.channel == transaction.channel)
        .with_for_update(key_share=True)
    )
    row = transaction.connection.execute(query).one_or_none()
    if row is None:
        raise NotFoundError(f"task {key} does not exist")
    transaction.locked()
    return to_message(row.message, row.status), row.token_hash is not None


def page(transaction: Transaction, wanted: pb.TaskQueryFilter, at: pages.Page) -> tuple[list[pb.ComputeTask], str]:
    """Return a page of the channel's tasks by date of creation, then key, and the token of the next page."""
    table = tables.tasks.c
    query = select(table.created_at, table.key, table.message, table.status).where(table.channel == transaction.channel)
    if wanted.worker:
        query = query.where(table.worker == wanted.worker)
    if wanted.status:
        query = query.where(table.status == wanted.status)
    if wanted.compute_plan_key:
        query = query.where(table.plan_key == UUID(wanted.compute_plan_key))
    if wanted.function_key:
        query = query.where(table.function_key == UUID(wanted.function_key))
    rows, token = pages.read(transaction.connection, query, at, (table.created_at, table.key))
    return [to_message(row["message"], row["status"]) for row in rows], token


_STATUSES = text("SELECT status, count(*) AS count FROM tasks WHERE plan_key = :plan GROUP BY status")


def count_by_status(transaction: Transaction, plan: UUID) -> dict[int, int]:
    """Return how many tasks of a compute plan are in each state."""
    return {row.status: row.count for row in transaction.connection.execute(_STATUSES, {"plan": plan})}  # type: ignore[misc]


_CHILDREN = text("SELECT DISTINCT status FROM tasks JOIN edges ON child = key WHERE parent = :parent")


def child_statuses(transaction: Transaction, parent: UUID) -> set[int]:
    """Return the states that the children of a task are in."""
    return set(transaction.connection.execute(_CHILDREN, {"parent": parent}).scalars())
