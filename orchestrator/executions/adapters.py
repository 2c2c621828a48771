"""Communication adapters: what the parts of one federated run call the topics by which they talk."""

from datetime import UTC

from orchestrator import protos as pb

_SEPARATOR = "_-SEP-_"
_IN_NAMES = str.maketrans({" ": "_", "+": "_", ":": "-"})


def name(execution: pb.Execution) -> str:
    """Return what stands before the names of an execution's topics: of this execution alone, on any broker."""
    created_at = execution.created_at.ToDatetime(tzinfo=UTC).isoformat(sep=" ", timespec="microseconds")
    return f"{execution.id}{_SEPARATOR}{created_at.translate(_IN_NAMES)}{_SEPARATOR}"
