"""Tasks: the SQL of their registration and of every transition.

Each transition is one compare-and-set on the task's row. The row of its compute plan is a latch: what may change the
graph or end the plan (registration, failure, cancellation) holds it alone, a Done shares it, so that a Done and the
registration of a child always see each other. Locks are taken in the order functions, compute plans, tasks, and in
the order of keys within each. The numbers of states in the statements are the contract's ComputeTaskStatus.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, insert, select, text

from orchestrator import protos as pb
from orchestrator.core import states
from orchestrator.core.errors import ConflictError, NotFoundError
from orchestrator.core.registration import Registered
from orchestrator.core.states import TaskStatus
from orchestrator.store import pages, schema
from orchestrator.store.assets import any_key
from orchestrator.store.database import Transaction

_STATUS_TAG = pb.ComputeTask(status=pb.STATUS_DONE).SerializeToString()[:1]


@dataclass(frozen=True)
class Moved:
    """A task after a transition.

    Args:
        key: which one.
        worker: the organization that runs it.
        attempts: how many attempts have begun.
        task: its message, with the new status.
    """

    key: UUID
    worker: str
    attempts: int
    task: pb.ComputeTask


def _message(definition: bytes, status: int) -> pb.ComputeTask:
    # A later field wins in protobuf, so the status is appended to the definition, which never changes.
    return pb.ComputeTask.FromString(definition + _STATUS_TAG + bytes((status,)))


def _moved(rows: Iterable[Row[Any]]) -> list[Moved]:
    return [Moved(row.key, row.worker, row.attempts, _message(row.message, row.status)) for row in rows]


def check_new(transaction: Transaction, keys: Collection[UUID]) -> None:
    """Check that no task bears any of these keys, in this channel or in another.

    Raises:
        ConflictError: one does.
    """
    query = select(schema.tasks.c.key).where(schema.tasks.c.key == any_key(keys)).limit(1)
    taken = transaction.connection.execute(query).scalar_one_or_none()
    if taken:
        raise ConflictError(f"task {taken} exists already")


def insert_many(transaction: Transaction, registered: Sequence[Registered]) -> None:
    """Keep new tasks and their edges."""
    rows, edges = [], []
    for new in registered:
        task = new.task
        key = UUID(task.key)
        status = task.status
        definition = pb.ComputeTask()
        definition.CopyFrom(task)
        definition.ClearField("status")
        rows.append(
            {
                "key": key,
                "channel": transaction.channel,
                "owner": task.owner,
                "created_at": transaction.now,
                "message": definition.SerializeToString(),
                "plan_key": UUID(task.compute_plan_key),
                "function_key": UUID(task.function_key),
                "worker": task.worker,
                "rank": task.rank,
                "status": status,
                "pending_parents": new.pending_parents,
                "poked_at": transaction.now if status == pb.STATUS_WAITING_FOR_EXECUTOR_SLOT else None,
            }
        )
        edges += [{"parent": UUID(parent), "child": key} for parent in new.parents]
    transaction.connection.execute(insert(schema.tasks), rows)
    if edges:
        transaction.connection.execute(insert(schema.edges), edges)


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
    table = schema.tasks.c
    query = select(table.key, table.message, table.status).where(
        table.key == any_key(keys), table.channel == transaction.channel
    )
    return {str(row.key): _message(row.message, row.status) for row in transaction.connection.execute(query)}


def get_for_update(transaction: Transaction, key: UUID) -> tuple[pb.ComputeTask, bool]:
    """Return a task, locked until the transaction ends, and whether a tokened attempt runs it.

    Raises:
        NotFoundError: the channel has none with this key.
    """
    table = schema.tasks.c
    query = (
        select(table.message, table.status, table.token_hash)
        .where(table.key == key, table.channel == transaction.channel)
        .with_for_update(key_share=True)
    )
    row = transaction.connection.execute(query).one_or_none()
    if row is None:
        raise NotFoundError(f"task {key} does not exist")
    transaction.locked()
    return _message(row.message, row.status), row.token_hash is not None


def page(transaction: Transaction, wanted: pb.TaskQueryFilter, at: pages.Page) -> tuple[list[pb.ComputeTask], str]:
    """Return a page of the channel's tasks by date of creation, then key, and the token of the next page."""
    table = schema.tasks.c
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
    return [_message(row["message"], row["status"]) for row in rows], token


_STATUSES = text("SELECT status, count(*) AS count FROM tasks WHERE plan_key = :plan GROUP BY status")


def count_by_status(transaction: Transaction, plan: UUID) -> dict[int, int]:
    """Return how many tasks of a compute plan are in each state."""
    return {row.status: row.count for row in transaction.connection.execute(_STATUSES, {"plan": plan})}  # type: ignore[misc]


_CHILDREN = text("SELECT DISTINCT status FROM tasks JOIN edges ON child = key WHERE parent = :parent")


def child_statuses(transaction: Transaction, parent: UUID) -> set[int]:
    """Return the states that the children of a task are in."""
    return set(transaction.connection.execute(_CHILDREN, {"parent": parent}).scalars())


# The state that it leaves guards the change and, for an attempt's own report, its token.
_END = text("""
    WITH latch AS (
             SELECT key FROM compute_plans WHERE key = (SELECT plan_key FROM tasks WHERE key = :key) FOR SHARE
         ),
         ended AS (
             UPDATE tasks SET status = :target, token_hash = NULL, poked_at = NULL
             WHERE key = :key AND channel = :channel AND plan_key = (SELECT key FROM latch)
               AND status = ANY(CAST(:sources AS smallint[]))
               AND (CAST(:worker AS text) IS NULL OR worker = :worker)
               AND (NOT :guarded OR token_hash IS NOT DISTINCT FROM CAST(:token_hash AS bytea))
             RETURNING key, worker, attempts, status, message
         ),
         attempt AS (
             UPDATE attempts SET ended_at = :now, outcome = :target, error_type = :error_type,
                                 report_hash = :report_hash
             FROM ended
             WHERE task_key = ended.key AND number = ended.attempts AND ended_at IS NULL
         )
    SELECT key, worker, attempts, status, message FROM ended
""")


def end(
    transaction: Transaction,
    key: UUID,
    target: TaskStatus,
    *,
    guarded: bool,
    worker: str | None = None,
    token_hash: bytes | None = None,
    error_type: int | None = None,
    report_hash: bytes | None = None,
) -> Moved | None:
    """Move a task, and the attempt that runs it, to a terminal state.

    Args:
        transaction: of the caller; holds the plan's latch alone when the target is Failed or Cancelled.
        key: which task.
        target: Done, Failed or Cancelled.
        worker: only if this organization runs it.
        guarded: only if its attempt bears `token_hash` (None: it was started without one).
        token_hash: SHA-256 of the attempt's token.
        error_type: what kind of fault, where there is one.
        report_hash: SHA-256 of the call that reports it.

    Returns:
        The task, or None where the guard held it: nothing was changed.
    """
    row = transaction.connection.execute(
        _END,
        {
            "key": key,
            "channel": transaction.channel,
            "target": target,
            "sources": states.sources(target),
            "guarded": guarded,
            "worker": worker,
            "token_hash": token_hash,
            "error_type": error_type,
            "report_hash": report_hash,
            "now": transaction.now,
        },
    ).one_or_none()
    transaction.locked()
    return _moved([row])[0] if row else None


_START = text("""
    WITH started AS (
             UPDATE tasks SET status = 3, attempts = attempts + 1, token_hash = :token_hash, poked_at = NULL, pokes = 0
             WHERE key = :key AND channel = :channel AND worker = :organization AND status = 2
               AND (:attempt = 0 OR attempts + 1 = :attempt)
             RETURNING key, worker, attempts, status, message
         ),
         attempt AS (
             INSERT INTO attempts (task_key, number, node, claim_id, token_hash, claimed_at, lease_until)
             SELECT key, attempts, CAST(:node AS text), CAST(:claim_id AS text), CAST(:token_hash AS bytea), :now,
                    :now + CAST(:lease AS interval)
             FROM started
         )
    SELECT key, worker, attempts, status, message FROM started
""")


def start(
    transaction: Transaction,
    key: UUID,
    *,
    attempt: int = 0,
    node: str | None = None,
    claim_id: str | None = None,
    token_hash: bytes | None = None,
    lease: timedelta | None = None,
) -> Moved | None:
    """Move a task of the calling worker from To do to Doing, and begin its next attempt.

    Args:
        transaction: of the worker.
        key: which task.
        attempt: the number that the next attempt must have; 0 for any.
        node: who runs it.
        claim_id: names the claim, so that it can be repeated.
        token_hash: SHA-256 of the attempt's token; None for a client without attempts.
        lease: how long it is believed to live without a heartbeat.

    Returns:
        The task, or None where it is not To do, not the caller's, or due for another attempt.
    """
    row = transaction.connection.execute(
        _START,
        {
            "key": key,
            "channel": transaction.channel,
            "organization": transaction.organization,
            "attempt": attempt,
            "node": node,
            "claim_id": claim_id,
            "token_hash": token_hash,
            "now": transaction.now,
            "lease": lease,
        },
    ).one_or_none()
    transaction.locked()
    return _moved([row])[0] if row else None


_RELEASE = text("""
    WITH child AS (
             SELECT key FROM tasks WHERE key IN (SELECT child FROM edges WHERE parent = :parent)
             ORDER BY key FOR NO KEY UPDATE
         ),
         counted AS (
             UPDATE tasks
             SET pending_parents = pending_parents - 1,
                 status = CASE WHEN status = 1 AND pending_parents = 1 THEN 2 ELSE status END,
                 poked_at = CASE WHEN status = 1 AND pending_parents = 1 THEN CAST(:now AS timestamptz) END
             FROM child WHERE tasks.key = child.key
             RETURNING tasks.key, worker, rank, attempts, status, pending_parents, message
         )
    SELECT key, worker, attempts, status, message FROM counted
    WHERE status = 2 AND pending_parents = 0 ORDER BY rank, key
""")


def release_children(transaction: Transaction, parent: UUID) -> list[Moved]:
    """Tell a task's children that it is Done; return those that are To do now."""
    return _moved(transaction.connection.execute(_RELEASE, {"parent": parent, "now": transaction.now}))


_CANCEL_PLAN = text("""
    WITH live AS (
             SELECT key FROM tasks WHERE plan_key = :plan AND status IN (1, 2, 3, 7, 8) ORDER BY key FOR NO KEY UPDATE
         ),
         ended AS (
             UPDATE tasks SET status = 5, token_hash = NULL, poked_at = NULL
             FROM live WHERE tasks.key = live.key
             RETURNING tasks.key, worker, rank, attempts, status, message
         ),
         attempt AS (
             UPDATE attempts SET ended_at = :now, outcome = 5
             FROM ended WHERE task_key = ended.key AND number = ended.attempts AND ended_at IS NULL
         )
    SELECT key, worker, attempts, status, message FROM ended ORDER BY rank, key
""")


def cancel_plan(transaction: Transaction, plan: UUID) -> list[Moved]:
    """Cancel the tasks of a compute plan that have not ended; return them."""
    return _moved(transaction.connection.execute(_CANCEL_PLAN, {"plan": plan, "now": transaction.now}))


_PLANS_OF_FUNCTION = text("SELECT DISTINCT plan_key FROM tasks WHERE function_key = :function AND status = 8")


def plans_building(transaction: Transaction, function: UUID) -> list[UUID]:
    """Return the compute plans whose tasks are Building because of a function."""
    return list(transaction.connection.execute(_PLANS_OF_FUNCTION, {"function": function}).scalars())


_FOLLOW_FUNCTION = text("""
    WITH chosen AS (
             SELECT key FROM tasks WHERE function_key = :function AND status = :source
             ORDER BY key FOR NO KEY UPDATE
         ),
         moved AS (
             UPDATE tasks
             SET status = CASE WHEN :target = 2 AND pending_parents > 0 THEN 1 ELSE :target END,
                 poked_at = CASE WHEN :target = 2 AND pending_parents = 0 THEN CAST(:now AS timestamptz) END
             FROM chosen WHERE tasks.key = chosen.key
             RETURNING tasks.key, worker, rank, attempts, status, message
         )
    SELECT key, worker, attempts, status, message FROM moved ORDER BY rank, key
""")


def follow_function(transaction: Transaction, function: UUID, source: TaskStatus, target: TaskStatus) -> list[Moved]:
    """Move the tasks of a function, which the transaction has locked, after it changed; return them.

    Args:
        transaction: of the owner.
        function: which function.
        source: the state of the tasks to move.
        target: where to; To do means Waiting for those whose parents are not all Done.
    """
    return _moved(
        transaction.connection.execute(
            _FOLLOW_FUNCTION,
            {"function": function, "source": source, "target": target, "now": transaction.now},
        )
    )
