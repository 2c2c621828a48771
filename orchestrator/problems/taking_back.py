"""How running attempts are taken from their modules: their stages wait again, and no failure is counted."""

from collections.abc import Collection
from uuid import UUID

from orchestrator.engine import retrying
from orchestrator.engine.retries import FaultKind
from orchestrator.engine.transaction import Transaction
from orchestrator.store.statements import statement

_OF_TASKS = statement("""
    SELECT attempts.task_key, number, attempts.token_hash, queue
    FROM task_states JOIN attempts ON attempts.task_key = task_states.key AND number = task_states.attempts
    JOIN tasks ON tasks.key = task_states.key
    WHERE task_states.key = ANY(CAST(:keys AS uuid[])) AND status = $DOING AND attempts.ended_at IS NULL
    ORDER BY attempts.task_key
""")
_OF_MODULE = statement("""
    SELECT task_key FROM stages JOIN task_states ON key = task_key
    WHERE deployment = :deployment AND stages.kind = :kind AND replica = :name AND ended_as IS NULL
      AND status IN ($DOING)
    ORDER BY task_key
""")


def of_module(transaction: Transaction, deployment: str, kind: int, name: str) -> list[UUID]:
    """Return the tasks that a module runs."""
    parameters = {"deployment": deployment, "kind": kind, "name": name}
    return list(transaction.connection.execute(_OF_MODULE, parameters).scalars())


def take_back(transaction: Transaction, keys: Collection[UUID], reason: str, fault: FaultKind | None = None) -> int:
    """Have stages wait again that run, and tell their modules to stop; return how many did.

    Args:
        transaction: of the organization of their deployment.
        keys: of their tasks.
        reason: why, for people.
        fault: what ends the attempts, None where that is nobody's failure.
    """
    taken = 0
    for row in transaction.connection.execute(_OF_TASKS, {"keys": list(keys)}).all():
        if retrying.retry(
            transaction,
            row.task_key,
            row.number,
            row.token_hash,
            pause=None,
            fault=fault,
            report_hash=b"",
            reason=reason,
        ):
            transaction.pokes.stop(row.queue, row.task_key, row.number)
            taken += 1
    return taken
