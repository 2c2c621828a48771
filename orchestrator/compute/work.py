"""How much an organization's workers have to do: what a scaler of theirs goes by, which cannot see the database."""

from dataclasses import dataclass

from sqlalchemy import text

from orchestrator.core import pokes
from orchestrator.engine import nodes
from orchestrator.engine.outbox import ANNOUNCED
from orchestrator.engine.transaction import Transaction
from orchestrator.store.statements import statement

# A poke of each task that is To do is out, or still to be sent.
_TO_DO = statement(
    """
    SELECT count(DISTINCT poke.key)
    FROM ($ANNOUNCED) AS poke
    JOIN task_states ON task_states.key = poke.key AND status = $TO_DO AND attempts + 1 = attempt
    WHERE queue = :queue
    """,
    ANNOUNCED=ANNOUNCED,
)
_TO_BUILD = text("SELECT count(*) FROM functions WHERE status IN (1, 2) AND owner = :organization")


@dataclass(frozen=True)
class Work:
    """What the queue of an organization holds, in all channels.

    Args:
        to_do: tasks that wait for a worker, and functions that are to be built.
        doing: attempts that its nodes run, of those that were heard lately.
    """

    to_do: int
    doing: int


def of_caller(transaction: Transaction, _: None) -> Work:
    """Return how much the workers of the calling organization have to do."""
    queue = pokes.queue(transaction.organization)
    connection = transaction.connection
    tasks = connection.execute(_TO_DO, {"queue": queue}).scalar_one()
    builds = connection.execute(_TO_BUILD, {"organization": transaction.organization}).scalar_one()
    return Work(int(tasks) + int(builds), nodes.seats(transaction, queue).taken)
