"""Which tasks are given a transient model by its key: it stays until they have ended.

What a task is given as the output of a parent is an edge of the graph. A model by its key is none: its task is Done.
"""

from collections.abc import Iterable
from uuid import UUID

from orchestrator.engine.transaction import Transaction
from orchestrator.store.statements import statement

_NOTE = statement("""
    INSERT INTO model_uses (task_key, user_key)
    SELECT DISTINCT models.task_key, user_key
    FROM unnest(CAST(:models AS uuid[]), CAST(:users AS uuid[])) AS used (model_key, user_key)
         JOIN models ON models.key = model_key
    WHERE transient
""")


def note(transaction: Transaction, uses: Iterable[tuple[UUID, UUID]]) -> None:
    """Note which new tasks use which models; of those that are not transient nothing is noted.

    Args:
        transaction: it has locked the models, and keeps the tasks.
        uses: keys of a model and of a task.
    """
    pairs = list(uses)
    parameters = {"models": [model for model, _ in pairs], "users": [user for _, user in pairs]}
    transaction.connection.execute(_NOTE, parameters)


_STATUSES = statement("""
    SELECT DISTINCT status FROM task_states JOIN model_uses ON user_key = key WHERE task_key = :task
""")


def statuses(transaction: Transaction, task: UUID) -> set[int]:
    """Return the states of the tasks that are given a transient model of a task by its key."""
    return set(transaction.connection.execute(_STATUSES, {"task": task}).scalars())
