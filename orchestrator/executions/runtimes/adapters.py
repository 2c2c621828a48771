"""Communication adapters: what the parts of one federated run call the topics by which they talk."""

from collections.abc import Collection
from datetime import UTC, timedelta

from orchestrator import protos as pb
from orchestrator.engine.transaction import Transaction
from orchestrator.store.statements import statement

_SEPARATOR = "_-SEP-_"
_IN_NAMES = str.maketrans({" ": "_", "+": "_", ":": "-"})


def name(execution: pb.Execution) -> str:
    """Return what stands before the names of an execution's topics: of this execution alone, on any broker."""
    created_at = execution.created_at.ToDatetime(tzinfo=UTC).isoformat(sep=" ", timespec="microseconds")
    return f"{execution.id}{_SEPARATOR}{created_at.translate(_IN_NAMES)}{_SEPARATOR}"


_KEPT = timedelta(days=2)
"""How long it is known that topics which are gone were ours: a start that was on its way may have made them anew."""

_NOTE_GONE = statement("""
    WITH old AS (
             DELETE FROM communication_adapters WHERE gone_at < CAST(:now AS timestamptz) - CAST(:kept AS interval)
         )
    UPDATE communication_adapters SET gone_at = :now
    WHERE adapter = ANY(CAST(:names AS text[])) AND worker = :organization AND gone_at IS NULL
""")


def note_gone(transaction: Transaction, names: Collection[str]) -> None:
    """Note that there are no topics of these names any more, and forget those of which that was noted long ago.

    Args:
        transaction: of the organization whose runtimes have made them.
        names: of the adapters.
    """
    transaction.connection.execute(
        _NOTE_GONE,
        {"names": list(names), "now": transaction.now, "organization": transaction.organization, "kept": _KEPT},
    )
