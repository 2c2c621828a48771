"""Modules that are not heard any more: they are INACTIVE, and what they ran waits again, or has failed."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from orchestrator import protos as pb
from orchestrator.engine.transaction import Database, Transaction, one_by_one
from orchestrator.problems import acknowledgements, configuration, losing, modules, presence
from orchestrator.store.connection import Connection, Row
from orchestrator.store.statements import statement
from orchestrator.store.sweep import Sweep

# While the orchestrator was away nobody could be heard.
_FIND = statement(
    """
    SELECT deployment || '/' || kind || '/' || modules.name AS key, channel, organization, deployment, kind,
           modules.name
    FROM modules JOIN deployments ON deployments.name = deployment
    WHERE told <> 0 AND (phase = $ENDED OR heard_at < CAST(:now AS timestamptz) - CAST(:silence AS interval))
      AND deployment || '/' || kind || '/' || modules.name <> ALL(CAST(:failed AS text[]))
      AND NOT EXISTS (SELECT FROM service
                      WHERE served_since > now() - CAST(:silence AS interval)
                         OR served_at < now() - CAST(:silence AS interval))
    ORDER BY heard_at LIMIT :limit
    """,
    ENDED=str(int(pb.PHASE_ENDED)),
)


def end(database: Database, now: datetime, limit: int, *, silence: timedelta | None = None) -> int:
    """Note that modules are gone that were not heard for too long; return how many.

    None is gone before the orchestrator has served for so long without a gap: who lives was heard by then.

    Args:
        database: where they are.
        now: the time.
        limit: most of them.
        silence: how long is too long; that of the settings where None.
    """
    wait = silence or presence.silence()

    def find(connection: Connection, failed: Sequence[Any]) -> Sequence[Row]:
        parameters = {"now": now, "silence": wait, "limit": limit, "failed": list(failed)}
        return connection.execute(_FIND, parameters).all()

    return one_by_one(database, find, partial(_gone, now - wait))


def _gone(before: datetime, transaction: Transaction, row: Row) -> bool:
    known = modules.find(transaction, row.deployment, row.kind, row.name)
    if known is None or (known.phase != pb.PHASE_ENDED and known.heard_at >= before):
        return False
    losing.lose_module(transaction, row.deployment, row.kind, row.name, "its module is not heard any more")
    configuration.give_back(transaction, row.deployment, row.kind, row.name)
    acknowledgements.settle_tasks(transaction, row.deployment)
    modules.refresh(transaction, row.deployment, row.kind, row.name, "it is not heard any more")
    return True


class Settings(Protocol):
    """What it must be told; see `beat.settings`."""

    silent_module_period: float
    sweep_batch: int


def make(settings: Settings) -> Sweep:
    """Return the sweep."""
    return Sweep("sweep.silent_modules", settings.silent_module_period, settings.sweep_batch, end)
