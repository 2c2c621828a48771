"""Why a stage waits, in a sentence."""

from collections.abc import Mapping, Sequence

from orchestrator import protos as pb
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import graph, presence
from orchestrator.store.connection import Row


def reasons(transaction: Transaction, deployment: str, found: Sequence[Row]) -> Mapping[int, str]:
    """Return why stages wait, by kind; those that do not wait are left out.

    Args:
        transaction: of the caller.
        deployment: whose.
        found: all stages of an iteration.
    """
    there = {row.kind for row in found if row.state == pb.STAGE_SUCCEEDED}
    still = [row.kind for row in found if row.state == pb.STAGE_WAITING]
    if not still:
        return {}
    present = presence.of_kinds(transaction, deployment)
    return {kind: _reason(kind, graph.missing(kind, there), present[kind]) for kind in still}


def _reason(kind: int, missing: Sequence[int], present: presence.Presence) -> str:
    if missing:
        return f"needs {', '.join(graph.KINDS[each].name for each in missing)}"
    name = graph.KINDS[kind].name
    if present.stopped:
        return "its kind is stopped"
    if not present.living:
        since = f" since {present.gone_at:%H:%M:%S}" if present.gone_at else ""
        return f"no {name} node is present{since}"
    if not present.accepting:
        return f"no {name} node takes work: each is stopped, set aside or not ready"
    return f"waits for a {name} node that is free"


def prepared() -> Sequence[pb.Stage]:
    """Return the stages of an iteration that was not started."""
    return [pb.Stage(kind=kind, waiting_for="its task is not started", run=1) for kind in sorted(graph.KINDS)]
