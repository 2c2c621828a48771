"""Topics of federated executions at a broker: which of them are ours, and no execution needs any more.

They outlive their executions, and others may have topics on the same broker. A name says the execution by its id and
the moment of its creation, and only one that is kept here is ours.
"""

from collections.abc import Sequence

from orchestrator import protos as pb
from orchestrator.engine.transaction import Transaction
from orchestrator.executions import states
from orchestrator.executions.runtimes import adapters
from orchestrator.store.statements import statement

SUFFIXES = ("_models_to_manager", "_models_to_clients")
"""What stands behind K in the names of a pair."""

OVER = f"""
    worker <> '' AND (executions.id IS NULL OR executions.status IN ({int(states.SUCCEEDED)}, {int(states.FAILED)}))
    AND NOT EXISTS (SELECT FROM execution_works WHERE execution_works.execution = communication_adapters.execution)
"""
"""Whether an execution that may be gone needs its topics no more: a start that is under way may make them yet."""

_FIND = statement(
    """
    SELECT adapter FROM communication_adapters LEFT JOIN executions ON executions.id = execution
    WHERE adapter = ANY(CAST(:adapters AS text[])) AND worker = :organization AND $OVER
    ORDER BY execution
    """,
    OVER=OVER,
)


def find(transaction: Transaction, asked: pb.FindOldTopicsParam) -> pb.FindOldTopicsResponse:
    """Return whose topics are to go, of those of executions that the caller's runtimes have run, in any channel."""
    parameters = {"adapters": _adapters(asked.topics), "organization": transaction.organization}
    return pb.FindOldTopicsResponse(communication_adapters=transaction.connection.execute(_FIND, parameters).scalars())


def _adapters(topics: Sequence[str]) -> list[str]:
    """Return what stands before the suffix of those that have one; another's may be called anything."""
    found = {topic.removesuffix(suffix) for topic in topics for suffix in SUFFIXES if topic.endswith(suffix)}
    # Postgres keeps no text that has one.
    return sorted(name for name in found if "\0" not in name)


def forget(transaction: Transaction, asked: pb.ForgetTopicsParam) -> pb.ForgetTopicsResponse:
    """Note that topics are gone."""
    adapters.note_gone(transaction, [name for name in asked.communication_adapters if "\0" not in name])
    return pb.ForgetTopicsResponse()
