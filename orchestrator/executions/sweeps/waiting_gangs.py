"""Gangs whose queues have room: they start."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from orchestrator.engine import completions, plans
from orchestrator.engine.transaction import Database, Transaction, one_by_one
from orchestrator.executions.tasks import gang_rows, gangs, task_runs
from orchestrator.store.connection import Connection, Row
from orchestrator.store.statements import statement
from orchestrator.store.sweep import Sweep

_FIND = statement("""
    SELECT DISTINCT ON (poked_at, gate) gate, plan, channel FROM gangs JOIN task_states ON key = gate
    JOIN plans ON plans.key = plan
    WHERE status = $TO_DO AND gate <> ALL(CAST(:failed AS uuid[]))
    ORDER BY poked_at, gate LIMIT :limit
""")


def let_in(database: Database, _: datetime, limit: int, *, patience: timedelta) -> int:
    """Let in the gangs that wait and have room; return how many were let in.

    Args:
        database: where they are.
        limit: most gangs.
        patience: how long a gang waits for slots that containers and tasks use which are in none. Then it waits for
            other gangs alone; and a run fails then that needs more slots than there are.
    """

    def find(connection: Connection, failed: Sequence[Any]) -> Sequence[Row]:
        return connection.execute(_FIND, {"limit": limit, "failed": failed}).all()

    return one_by_one(database, find, lambda transaction, row: _let_in(transaction, row.gate, row.plan, patience))


def _let_in(transaction: Transaction, gate: UUID, plan: UUID, patience: timedelta) -> bool:
    # Who holds a plan's latch never waits for this lock.
    gang_rows.lock(transaction)
    waiting = gang_rows.waiting(transaction)
    room = gang_rows.room(transaction, {queue for gang in waiting for queue in gang.needs})
    late = {gang.gate for gang in waiting if transaction.now - gang.since > patience}
    if gate in gangs.let_in(waiting, room, late):
        plans.share(transaction, plan)
        return completions.complete_unclaimed(transaction, gate, "all its queues have room")
    gang = next((each for each in waiting if each.gate == gate), None)
    if gang and gate in late and gang.needs.keys() <= room.slots.keys() and (reason := gangs.hopeless(gang, room)):
        task_runs.give_up(transaction, plan, reason)
        return True
    return False


class Settings(Protocol):
    """What it must be told; see `beat.settings`."""

    waiting_gang_period: float
    gang_patience: float
    sweep_batch: int


def make(settings: Settings) -> Sweep:
    """Return the sweep."""
    run = partial(let_in, patience=timedelta(seconds=settings.gang_patience))
    return Sweep("sweep.waiting_gangs", settings.waiting_gang_period, settings.sweep_batch, run)
