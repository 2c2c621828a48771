"""Tasks of any kind: their rows, their registration, and reading them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import TextClause, select

from orchestrator.core.errors import NotFoundError, PermissionDeniedError
from orchestrator.core.states import TASK_WORDS, TaskStatus
from orchestrator.engine.transaction import Transaction
from orchestrator.store import pages, tables
from orchestrator.store.statements import statement


@dataclass(frozen=True)
class Task:
    """A task as its row has it.

    Args:
        key: which one.
        kind: of work, see `engine.kinds`.
        plan: the plan that it belongs to.
        owner: the organization that registered it.
        worker: the organization that runs it.
        queue: where its pokes go.
        priority: of its pokes; the highest goes first.
        attempts: how many have begun.
        status: its state.
        definition: its message in the words of its kind, without the state; it never changes.
        ran: the number of the claimed attempt that a transition ended, None without one.
    """

    key: UUID
    kind: str
    plan: UUID
    owner: str
    worker: str
    queue: str
    priority: int
    attempts: int
    status: TaskStatus
    definition: bytes
    ran: int | None = None

    @property
    def word(self) -> str:
        """What people call its state."""
        return TASK_WORDS[self.status]


COLUMNS = "key, kind, plan_key, owner, worker, queue, priority, attempts, status, message"
"""What a statement must select first, in this order, for `of_rows`; for `moved` nothing else, or `ran`."""

_STATE = {"attempts", "status"}
_OF_TABLES = {name: tables.task_states if name in _STATE else tables.tasks for name in COLUMNS.split(", ")}

RETURNED = ", ".join(f"{table.name}.{name}" for name, table in _OF_TABLES.items())
"""The same of the tables `tasks` and `task_states`, beside others."""

_COLUMNS = [table.c[name] for name, table in _OF_TABLES.items()]
_SELECTED = len(_COLUMNS)


def of_rows(rows: Iterable[Sequence[Any]]) -> list[Task]:
    """Return the tasks that a statement has selected."""
    return [Task(*row[:_SELECTED]) for row in rows]


def moved(transaction: Transaction, moving: TextClause, parameters: Mapping[str, Any]) -> list[Task]:
    """Run a statement that selects tasks, and perhaps `ran`; return them."""
    return [Task(*row) for row in transaction.connection.execute(moving, parameters)]


class Run(Protocol):
    """What an organization runs: a row, or a message."""

    @property
    def key(self) -> object:
        """Which task."""

    @property
    def worker(self) -> str:
        """The organization."""


def check_worker(transaction: Transaction, task: Run) -> None:
    """Check that the caller is the worker of a task.

    Raises:
        PermissionDeniedError: another organization is.
    """
    if transaction.organization != task.worker:
        raise PermissionDeniedError(
            f"task {task.key} is run by {task.worker}, so {transaction.organization} may not report on it"
        )


@dataclass(frozen=True)
class NewTask:
    """A task that is to be registered.

    Args:
        key: which one.
        kind: of work.
        plan: the plan that it belongs to.
        worker: the organization that runs it.
        queue: where its pokes go; empty where no worker runs it, see `completions.complete_unclaimed`.
        status: its first state.
        definition: its message without the state.
        parents: the keys of its parents, each once.
        pending_parents: how many of them are not Done.
        rank: how deep it lies in the graph, 0 without a parent.
        requires: what must be ready before it may run, for `transitions.follow`; None where nothing must.
        priority: of its pokes.
    """

    key: UUID
    kind: str
    plan: UUID
    worker: str
    queue: str
    status: TaskStatus
    definition: bytes
    parents: Sequence[UUID] = ()
    pending_parents: int = 0
    rank: int = 0
    requires: UUID | None = None
    priority: int = 0


def inserted(beside: str = "") -> str:
    """Return what stands in the WITH of a statement that keeps new tasks, with their edges; `parameters` are its own.

    Args:
        beside: before the tasks in each FROM: without a row of it nothing is kept.
    """
    return f"""
         edge AS (
             INSERT INTO edges (parent, child)
             SELECT parent, child
             FROM {beside}unnest(CAST(:parents AS uuid[]), CAST(:children AS uuid[])) AS edge (parent, child)
         ),
         definition AS (
             INSERT INTO tasks (key, channel, owner, created_at, message, kind, plan_key, requires, worker, queue,
                                priority, rank)
             SELECT key, :channel, :organization, :now, message, kind, plan_key, requires, worker, queue, priority, rank
             FROM {beside}unnest(CAST(:keys AS uuid[]), CAST(:messages AS bytea[]), CAST(:kinds AS text[]),
                         CAST(:plans AS uuid[]), CAST(:required AS uuid[]), CAST(:workers AS text[]),
                         CAST(:queues AS text[]), CAST(:priorities AS smallint[]), CAST(:ranks AS int[]))
                  AS task (key, message, kind, plan_key, requires, worker, queue, priority, rank)
         ),
         state AS (
             INSERT INTO task_states (key, plan_key, status, pending_parents, poked_at)
             SELECT key, plan_key, status, pending_parents,
                    CASE WHEN status = $TO_DO THEN CAST(:now AS timestamptz) END
             FROM {beside}unnest(CAST(:keys AS uuid[]), CAST(:plans AS uuid[]), CAST(:statuses AS smallint[]),
                         CAST(:pending_parents AS int[]))
                  AS state (key, plan_key, status, pending_parents)
         )
    """  # noqa: S608 - constants


# What makes a parent Done in one statement sees by `extended` that it may not see all children (`engine.completions`).
_INSERT = statement(
    """
    WITH grown AS (
             UPDATE plans SET extended = extended + 1
             WHERE key IN (SELECT plan_key FROM tasks WHERE tasks.key = ANY(CAST(:outer AS uuid[])))
         ),
         $INSERTED
    SELECT
    """,
    INSERTED=inserted(),
)


def insert_many(transaction: Transaction, new: Sequence[NewTask], outer: Collection[UUID]) -> None:
    """Keep new tasks of the caller, and their edges, in one statement, however many they are.

    Args:
        transaction: of the caller; it holds the latches of their plans, and of those of their parents.
        new: the tasks.
        outer: the parents of some of them that were there before the transaction.

    Raises:
        ConflictError: a task bears one of the keys, in this channel or in another.
    """
    transaction.connection.execute(_INSERT, {**parameters(transaction, new), "outer": list(outer)})


def parameters(transaction: Transaction, new: Sequence[NewTask]) -> dict[str, object]:
    """Return the parameters of `inserted` for new tasks of the caller."""
    edges = [(parent, task.key) for task in new for parent in task.parents]
    return {
        "channel": transaction.channel,
        "organization": transaction.organization,
        "now": transaction.now,
        "keys": [task.key for task in new],
        "messages": [task.definition for task in new],
        "kinds": [task.kind for task in new],
        "plans": [task.plan for task in new],
        "required": [task.requires for task in new],
        "workers": [task.worker for task in new],
        "queues": [task.queue for task in new],
        "priorities": [task.priority for task in new],
        "ranks": [task.rank for task in new],
        "statuses": [task.status for task in new],
        "pending_parents": [task.pending_parents for task in new],
        "parents": [parent for parent, _ in edges],
        "children": [child for _, child in edges],
    }


def get(transaction: Transaction, key: UUID) -> Task:
    """Return a task of this channel.

    Raises:
        NotFoundError: the channel has none with this key.
    """
    found = get_many(transaction, [key])
    if not found:
        raise NotFoundError(f"task {key} does not exist")
    return found[key]


_GET = statement(
    """
    SELECT $RETURNED FROM tasks JOIN task_states USING (key)
    WHERE key = ANY(CAST(:keys AS uuid[])) AND channel = :channel
    """,
    RETURNED=RETURNED,
)


def get_many(transaction: Transaction, keys: Collection[UUID]) -> dict[UUID, Task]:
    """Return those tasks of this channel that exist, by key."""
    if not keys:
        return {}
    rows = transaction.connection.execute(_GET, {"keys": list(keys), "channel": transaction.channel})
    return {task.key: task for task in of_rows(rows)}


_OF_PLAN = statement(
    """
    SELECT $RETURNED FROM tasks JOIN task_states USING (key)
    WHERE tasks.plan_key = :plan AND channel = :channel ORDER BY rank, created_at, key
    """,
    RETURNED=RETURNED,
)


def of_plan(transaction: Transaction, plan: UUID) -> list[Task]:
    """Return the tasks of a plan of this channel, parents before children."""
    return of_rows(transaction.connection.execute(_OF_PLAN, {"plan": plan, "channel": transaction.channel}))


_LOCK = statement(
    """
    SELECT $RETURNED, token_hash IS NOT NULL AS by_attempt FROM tasks JOIN task_states USING (key)
    WHERE key = :key AND channel = :channel FOR NO KEY UPDATE OF task_states
    """,
    RETURNED=RETURNED,
)


def get_for_update(transaction: Transaction, key: UUID) -> tuple[Task, bool]:
    """Return a task, locked until the transaction ends, and whether a tokened attempt runs it.

    Raises:
        NotFoundError: the channel has none with this key.
    """
    row = transaction.connection.execute(_LOCK, {"key": key, "channel": transaction.channel}).one_or_none()
    if row is None:
        raise NotFoundError(f"task {key} does not exist")
    transaction.locked()
    return of_rows([row])[0], row.by_attempt


def page(transaction: Transaction, at: pages.Page, **wanted: object) -> tuple[list[Task], str]:
    """Return a page of the channel's tasks by date of creation, then key, and the token of the next page.

    Args:
        transaction: of the caller.
        at: which page.
        wanted: columns and the values that they must have.
    """
    table, states = tables.tasks.c, tables.task_states.c
    query = (
        select(*_COLUMNS, table.created_at)
        .join_from(tables.tasks, tables.task_states, table.key == states.key)
        .where(table.channel == transaction.channel)
    )
    for name, value in wanted.items():
        query = query.where((states if name in _STATE else table)[name] == value)
    rows, token = pages.read(transaction.connection, query, at, (table.created_at, table.key), weight=table.message)
    return of_rows([[row[column.name] for column in _COLUMNS] for row in rows]), token


_STATUSES = statement("""
    SELECT plan_key, status, count(*) AS count FROM task_states JOIN plans ON plans.key = plan_key
    WHERE plan_key = ANY(CAST(:plans AS uuid[])) AND channel = :channel GROUP BY plan_key, status
""")


def count_by_status(transaction: Transaction, plans: Collection[UUID]) -> dict[UUID, dict[int, int]]:
    """Return how many tasks of plans of this channel are in each state, by plan; those without tasks are left out."""
    counts: dict[UUID, dict[int, int]] = {}
    for row in transaction.connection.execute(_STATUSES, {"plans": list(plans), "channel": transaction.channel}):
        counts.setdefault(row.plan_key, {})[row.status] = row.count
    return counts


_CHILDREN = statement("SELECT DISTINCT status FROM task_states JOIN edges ON child = key WHERE parent = :parent")


def child_statuses(transaction: Transaction, parent: UUID) -> set[int]:
    """Return the states that the children of a task are in."""
    return set(transaction.connection.execute(_CHILDREN, {"parent": parent}).scalars())
