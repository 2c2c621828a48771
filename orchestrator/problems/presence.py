"""Who is there: how many modules of each kind live and take work, and since when none is there."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator import protos as pb
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import graph, settings
from orchestrator.store.statements import statement


@dataclass(frozen=True)
class Presence:
    """Who is there of a kind.

    Args:
        living: how many modules.
        accepting: how many of them take work.
        stopped: whether the whole kind is stopped.
        gone_at: when the last one went, None while one is there, or where none ever was.
    """

    living: int
    accepting: int
    stopped: bool
    gone_at: datetime | None


def silence() -> timedelta:
    """Return how long nothing may be heard of a module that lives."""
    return timedelta(seconds=settings.current().module_silence)


LIVES = "modules.phase <> $ENDED_PHASE AND modules.heard_at > CAST(:now AS timestamptz) - CAST(:silence AS interval)"
"""Of a module: it is there."""

ENDED_PHASE = str(int(pb.PHASE_ENDED))

_KINDS = statement(
    """
    SELECT kind, coalesce(bool_or(stopped_at IS NOT NULL), false) AS stopped,
           count(*) FILTER (WHERE $LIVES) AS living,
           count(*) FILTER (WHERE $LIVES AND phase = $SPINNING AND NOT (stopped OR set_aside OR restarting))
               AS accepting,
           max(heard_at) AS heard_at
    FROM modules FULL JOIN module_kinds USING (deployment, kind)
    WHERE deployment = :deployment GROUP BY kind
    """,
    LIVES=LIVES,
    ENDED_PHASE=ENDED_PHASE,
    SPINNING=str(int(pb.PHASE_SPINNING)),
)


def of_kinds(transaction: Transaction, deployment: str) -> Mapping[int, Presence]:
    """Return who is there of each kind."""
    parameters = {"deployment": deployment, "now": transaction.now, "silence": silence()}
    found = {
        row.kind: Presence(
            row.living, 0 if row.stopped else row.accepting, row.stopped, None if row.living else row.heard_at
        )
        for row in transaction.connection.execute(_KINDS, parameters)
    }
    nobody = Presence(0, 0, False, None)
    return {kind: found.get(kind, nobody) for kind in graph.KINDS}
