"""Attempts whose lease ran out: their worker is lost, and the task is tried again, or Failed after too many."""

from datetime import datetime
from typing import Protocol

from orchestrator.engine import kinds, retrying
from orchestrator.engine.transaction import Database, one_by_one
from orchestrator.store.statements import statement
from orchestrator.store.sweep import Sweep

# Where no server has ever noted that it serves (see engine.presence), nobody can tell when it was away.
_EXPIRED = statement("""
    SELECT task_key, number, attempt.token_hash, channel
    FROM unsettled
    CROSS JOIN LATERAL (
        SELECT token_hash, ended_at, lease_until FROM attempts
        WHERE task_key = unsettled.task_key AND number = unsettled.number LIMIT 1
    ) AS attempt
    JOIN tasks ON tasks.key = task_key JOIN task_states ON task_states.key = task_key
    WHERE ended_at IS NULL AND lease_until < :now AND status = $DOING AND task_key <> ALL(CAST(:failed AS uuid[]))
      AND NOT EXISTS (SELECT FROM service
                      WHERE served_since > now() - CAST(:lease AS interval)
                         OR served_at < now() - CAST(:gap AS interval))
    ORDER BY kind = ANY(CAST(:known AS text[])) DESC, lease_until LIMIT :limit
""")


def expire(database: Database, now: datetime, limit: int) -> int:
    """End attempts whose lease ran out, each in a transaction; return how many were ended.

    None is ended before the orchestrator has served for a whole lease without a gap: who lives has renewed it by then.
    """
    rules = database.rules
    parameters = {"now": now, "limit": limit, "lease": rules.lease, "gap": rules.gap, "known": kinds.names()}
    return one_by_one(
        database,
        lambda connection, failed: connection.execute(_EXPIRED, {**parameters, "failed": failed}).all(),
        lambda transaction, row: retrying.expire(transaction, row.task_key, row.number, row.token_hash, now),
    )


class Settings(Protocol):
    """What it must be told; see `beat.settings`."""

    expired_lease_period: float
    sweep_batch: int


def make(settings: Settings) -> Sweep:
    """Return the sweep."""
    return Sweep("sweep.expired_leases", settings.expired_lease_period, settings.sweep_batch, expire)
