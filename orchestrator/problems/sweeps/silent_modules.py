"""Modules that are not heard any more: they are INACTIVE, and what they ran waits again, or has failed."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from orchestrator import protos as pb
from orchestrator.engine.transaction import Database, Transaction, one_by_one
from orchestrator.problems import acknowledgements, configuration, losing, modules, presence, settings
from orchestrator.store.connection import Connection, Row
from orchestrator.store.statements import statement
from orchestrator.store.sweep import Sweep

# While the orchestrator was away nobody could be heard. A short absence leaves no trace but the time of the last note:
# so what is not heard is suspected first, and has time for another report.
_SERVED = """
    NOT EXISTS (SELECT FROM service
                WHERE served_since > now() - CAST(:silence AS interval)
                   OR served_at < now() - CAST(:gap AS interval) / 2)
"""
_SUSPECT = statement(
    """
    UPDATE modules SET suspected_at = :now
    WHERE (deployment, kind, name) IN (
        SELECT deployment, kind, name FROM modules
        WHERE told <> 0 AND phase <> $ENDED AND (suspected_at IS NULL OR suspected_at < heard_at)
          AND heard_at < CAST(:now AS timestamptz) - CAST(:silence AS interval) + CAST(:report AS interval)
          AND $SERVED
        ORDER BY heard_at LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED)
    """,
    ENDED=str(int(pb.PHASE_ENDED)),
    SERVED=_SERVED,
)
_FIND = statement(
    """
    SELECT deployment || '/' || kind || '/' || modules.name AS key, channel, organization, deployment, kind,
           modules.name
    FROM modules JOIN deployments ON deployments.name = deployment
    WHERE told <> 0
      AND (phase = $ENDED
           OR (heard_at < CAST(:now AS timestamptz) - CAST(:silence AS interval) AND suspected_at >= heard_at
               AND suspected_at <= CAST(:now AS timestamptz) - CAST(:report AS interval) AND $SERVED))
      AND deployment || '/' || kind || '/' || modules.name <> ALL(CAST(:failed AS text[]))
    ORDER BY heard_at LIMIT :limit
    """,
    ENDED=str(int(pb.PHASE_ENDED)),
    SERVED=_SERVED,
)


def end(database: Database, now: datetime, limit: int) -> int:
    """Note that modules are gone that were not heard for too long; return how many.

    None is gone before the orchestrator has served for so long without a gap: who lives was heard by then.

    Args:
        database: where they are.
        now: the time.
        limit: most of them.
    """
    silence = presence.silence()
    times = {"now": now, "silence": silence, "report": report_within(), "gap": database.rules.gap, "limit": limit}
    with database.begin() as connection:
        connection.execute(_SUSPECT, times)

    def find(connection: Connection, failed: Sequence[Any]) -> Sequence[Row]:
        return connection.execute(_FIND, {**times, "failed": list(failed)}).all()

    return one_by_one(database, find, partial(_gone, now - silence))


def report_within() -> timedelta:
    """Return in what time a module that lives reports, as soon as it can."""
    said = settings.current()
    return timedelta(seconds=min(said.module_period + 1, said.module_silence / 2))


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


def make(told: Settings) -> Sweep:
    """Return the sweep."""
    return Sweep("sweep.silent_modules", told.silent_module_period, told.sweep_batch, end)
