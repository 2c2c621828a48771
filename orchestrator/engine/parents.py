"""The parents of a task: which of them it waits for, or was stopped with."""

from collections.abc import Collection
from uuid import UUID

from orchestrator.core.states import TaskStatus
from orchestrator.engine.tasks import RETURNED, Task, of_rows
from orchestrator.engine.transaction import Transaction
from orchestrator.store.statements import statement

_FIRST = statement(
    """
    SELECT $RETURNED, count(*) OVER () AS count
    FROM edges JOIN tasks ON tasks.key = parent JOIN task_states ON task_states.key = parent
    WHERE child = :key AND status = ANY(CAST(:statuses AS smallint[]))
    ORDER BY status DESC, rank, tasks.key LIMIT 1
    """,
    RETURNED=RETURNED,
)


def first(transaction: Transaction, key: UUID, statuses: Collection[TaskStatus]) -> tuple[Task, int] | None:
    """Return the parent of a task that is the farthest of those in some states, and how many they are; None without."""
    row = transaction.connection.execute(_FIRST, {"key": key, "statuses": list(statuses)}).one_or_none()
    return None if row is None else (of_rows([row])[0], row.count)


# One way up, since an ancestor may be reached by very many.
_FARTHEST = statement(
    """
    WITH RECURSIVE above (key, distance) AS (
             SELECT CAST(:key AS uuid), 0
             UNION ALL
             SELECT (SELECT parent FROM edges JOIN task_states ON task_states.key = parent
                     WHERE child = above.key AND status = ANY(CAST(:statuses AS smallint[]))
                     ORDER BY status DESC, parent LIMIT 1), distance + 1
             FROM above WHERE above.key IS NOT NULL
         ),
         farthest AS (SELECT key FROM above WHERE key IS NOT NULL ORDER BY distance DESC LIMIT 1)
    SELECT $RETURNED FROM farthest JOIN tasks USING (key) JOIN task_states USING (key)
    """,
    RETURNED=RETURNED,
)


def farthest(transaction: Transaction, key: UUID, statuses: Collection[TaskStatus]) -> Task:
    """Return the ancestor of a task at which a way up ends that leads over tasks in some states; it itself without."""
    rows = transaction.connection.execute(_FARTHEST, {"key": key, "statuses": list(statuses)})
    return of_rows(rows)[0]
