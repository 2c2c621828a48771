"""Communication adapters: what the parts of one federated run call the topics by which they talk."""

from collections.abc import Collection
from datetime import UTC

from orchestrator import protos as pb
from orchestrator.engine.transaction import Transaction
from orchestrator.store.statements import statement

_SEPARATOR = "_-SEP-_"
_IN_NAMES = str.maketrans({" ": "_", "+": "_", ":": "-"})


def name(execution: pb.Execution) -> str:
    """Return what stands before the names of an execution's topics: of this execution alone, on any broker."""
    created_at = execution.created_at.ToDatetime(tzinfo=UTC).isoformat(sep=" ", timespec="microseconds")
    return f"{execution.id}{_SEPARATOR}{created_at.translate(_IN_NAMES)}{_SEPARATOR}"


_FORGET = statement("DELETE FROM communication_adapters WHERE adapter = ANY(CAST(:names AS text[]))")


def forget(transaction: Transaction, names: Collection[str]) -> None:
    """Note that there are no topics of these names any more."""
    transaction.connection.execute(_FORGET, {"names": list(names)})
