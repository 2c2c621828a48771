"""Tasks of any kind: their rows, their registration, and reading them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias
from uuid import UUID

from sqlalchemy import TextClause, select

from orchestrator.core.errors import NotFoundError, PermissionDeniedError
from orchestrator.core.states import TASK_WORDS, TaskStatus
from orchestrator.engine.transaction import Transaction
from orchestrator.store import pages, tables
from orchestrator.store.statements import each, statement


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


Key: TypeAlias = UUID | str
"""A key, or the same as it is written."""


class NewTask(NamedTuple):
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

    key: Key
    kind: str
    plan: Key
    worker: str
    queue: str
    status: TaskStatus
    definition: bytes
    parents: Sequence[Key] = ()
    pending_parents: int = 0
    rank: int = 0
    requires: Key | None = None
    priority: int = 0


# What makes a parent Done in one statement sees by `extended` that it may not see all children (`engine.completions`).
INSERT = """
    edge AS (
        INSERT INTO edges (parent, child)
        SELECT parent, child
        FROM unnest(CAST(:parents AS uuid[]), CAST(:children AS uuid[])) AS edge (parent, child)
        WHERE $GUARD
    ),
    grown AS (
        UPDATE plans SET extended = extended + 1
        WHERE key IN (SELECT plan_key FROM $OUTER) AND $GUARD
    ),
    task AS MATERIALIZED (
        SELECT key, kind, plan_key, worker, queue, status, message, pending_parents, rank, requires, priority, ordinal
        FROM unnest(CAST(:keys AS uuid[]), CAST(:kinds AS text[]), CAST(:plans AS uuid[]), CAST(:workers AS text[]),
                    CAST(:queues AS text[]), CAST(:statuses AS smallint[]), CAST(:messages AS bytea[]),
                    CAST(:pending_parents AS int[]), CAST(:ranks AS int[]), CAST(:required AS uuid[]),
                    CAST(:priorities AS smallint[]))
             WITH ORDINALITY AS task (key, kind, plan_key, worker, queue, status, message, pending_parents, rank,
                                      requires, priority, ordinal)
        WHERE $GUARD
    ),
    definition AS (
        INSERT INTO tasks (key, channel, owner, created_at, message, kind, plan_key, requires, worker, queue, priority,
                           rank)
        SELECT key, :channel, :organization, :now, message, kind, plan_key, requires, worker, queue, priority, rank
        FROM task
    ),
    state AS (
        INSERT INTO task_states (key, plan_key, status, pending_parents, poked_at)
        SELECT key, plan_key, status, pending_parents, CASE WHEN status = $TO_DO THEN CAST(:now AS timestamptz) END
        FROM task
    )
"""
"""What stands in the WITH of a statement that inserts new tasks, the rows of `task`, and their edges.

`OUTER` is the states of the tasks that the parameter `outer` names, `GUARD` says whether anything is inserted."""

_INSERT = statement("WITH $INSERT SELECT", INSERT=INSERT, OUTER=each("task_states", "outer"), GUARD="true")


def parameters(transaction: Transaction, new: Sequence[NewTask], outer: Collection[Key]) -> dict[str, object]:
    """Return the parameters of `INSERT`, whose arguments are those of `insert_many`."""
    keys, kinds, plans, workers, queues, statuses, messages, parents, pending, ranks, required, priorities = zip(
        *new, strict=True
    )
    return {
        "channel": transaction.channel,
        "organization": transaction.organization,
        "now": transaction.now,
        "keys": list(keys),
        "kinds": list(kinds),
        "plans": list(plans),
        "workers": list(workers),
        "queues": list(queues),
        "statuses": list(statuses),
        "messages": list(messages),
        "pending_parents": list(pending),
        "ranks": list(ranks),
        "required": list(required),
        "priorities": list(priorities),
        "parents": [parent for above in parents for parent in above],
        "children": [key for key, above in zip(keys, parents, strict=True) for _ in above],
        "outer": list(outer),
    }


def insert_many(transaction: Transaction, new: Sequence[NewTask], outer: Collection[Key]) -> None:
    """Keep new tasks of the caller, and their edges, in one statement, however many they are.

    Args:
        transaction: of the caller; it holds the latches of their plans, and of those of their parents.
        new: the tasks.
        outer: the parents of some of them that were there before the transaction, and have not ended.

    Raises:
        ConflictError: a task bears one of the keys, in this channel or in another.
    """
    if not new:
        return
    transaction.connection.execute(_INSERT, parameters(transaction, new, outer))


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
