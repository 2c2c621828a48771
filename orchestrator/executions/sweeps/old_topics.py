"""Topics of federated executions that are over: a runtime is asked to remove them, where the operator wants that."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from orchestrator import protos as pb
from orchestrator.engine.transaction import Database, Transaction
from orchestrator.executions.runtimes import steps
from orchestrator.executions.runtimes.topics import OVER
from orchestrator.store.connection import Row
from orchestrator.store.statements import statement
from orchestrator.store.sweep import Sweep

_AGAIN = timedelta(days=1)
"""How long a runtime has before it is asked again: its step is tried again by itself."""

_OLD = """
    communication_adapters LEFT JOIN executions ON executions.id = execution
    WHERE $OVER AND (asked_at IS NULL OR asked_at < CAST(:now AS timestamptz) - CAST(:again AS interval))
"""
_RUNTIMES = statement("SELECT DISTINCT communication_adapters.channel, worker FROM $OLD", OLD=_OLD, OVER=OVER)
_ASK = statement(
    """
    WITH old AS (
             SELECT adapter FROM $OLD AND communication_adapters.channel = :channel AND worker = :worker
             ORDER BY execution LIMIT :limit FOR UPDATE OF communication_adapters SKIP LOCKED
         )
    UPDATE communication_adapters SET asked_at = :now
    FROM old WHERE old.adapter = communication_adapters.adapter
    RETURNING communication_adapters.adapter
    """,
    OLD=_OLD,
    OVER=OVER,
)


def ask(database: Database, now: datetime, limit: int) -> int:
    """Ask runtimes to remove the topics of executions that are over; return of how many executions.

    Args:
        database: where they are.
        now: the time.
        limit: most executions in one step.
    """
    parameters: dict[str, Any] = {"now": now, "again": _AGAIN}
    with database.begin() as connection:
        runtimes: Sequence[Row] = connection.execute(_RUNTIMES, parameters).all()

    def send(transaction: Transaction) -> int:
        asked = {**parameters, "channel": transaction.channel, "worker": transaction.organization, "limit": limit}
        old = list(transaction.connection.execute(_ASK, asked).scalars())
        if old:
            work = pb.CleanWork(communication_adapters=sorted(old))
            steps.send(transaction, transaction.organization, [(0, pb.STEP_ROLE_CLEAN, work)])
        return len(old)

    # Whose runtime it is sees to its own.
    return sum(database.run(each.worker, each.channel, send) for each in runtimes)


class Settings(Protocol):
    """What it must be told; see `beat.settings`."""

    clean_topics: bool
    old_topic_period: float
    sweep_batch: int


def make(settings: Settings) -> Sweep | None:
    """Return the sweep, None where the operator does not want it."""
    if not settings.clean_topics:
        return None
    return Sweep("sweep.old_topics", settings.old_topic_period, settings.sweep_batch, ask)
