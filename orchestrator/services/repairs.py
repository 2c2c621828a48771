"""Repairs that sweeps do over and over: each takes a bounded batch, and two at once do no harm."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row

from orchestrator.core import crash
from orchestrator.services import attempt_again, plans
from orchestrator.store import outbox, queues, repairs
from orchestrator.store.database import Database, Transaction

NOBODY = ""
"""The caller of a repair: no organization."""


def repeat_lost_pokes(database: Database, now: datetime, limit: int, *, age: timedelta) -> int:
    """Write a new poke for tasks To do and functions not built whose last one was lost; return how many.

    One was sent before the organization's first node came, or came back after a silence; another is too old, unless
    the organization's nodes are silent. One that has never had a node may have workers that send no heartbeats.

    Args:
        database: where they are.
        now: the time.
        limit: most tasks, and most functions.
        age: of the first poke; the age that counts as too old doubles with each poke, up to an hour.
    """
    with database.engine.begin() as connection:
        return outbox.repeat_lost(connection, now, limit, age, database.rules.silence)


def expire_leases(database: Database, now: datetime, limit: int) -> int:
    """End attempts whose lease ran out, each in a transaction; return how many were ended.

    None is ended before the orchestrator has served for a whole lease without a gap: who lives has renewed it by then.
    """
    rules = database.rules
    with database.engine.begin() as connection:
        found = repairs.expired_leases(connection, now, limit, rules.lease, rules.gap)
    return _one_by_one(
        database,
        found,
        lambda transaction, row: attempt_again.expire(transaction, row.task_key, row.number, row.token_hash, now),
    )


def poke_due_retries(database: Database, now: datetime, limit: int) -> int:
    """Poke for tasks whose pause before the next attempt is over; return how many."""
    with database.engine.begin() as connection:
        return repairs.poke_due(connection, now, limit)


def repeat_stops(database: Database, now: datetime, limit: int, *, age: timedelta, deadline: timedelta) -> int:
    """Tell nodes again to stop attempts whose end they have not acknowledged; return how many.

    Those that their node never heard of are noted as stopped instead, and counted too.

    Args:
        database: where they are.
        now: the time.
        limit: most attempts.
        age: how long an acknowledgement may take.
        deadline: how long one is asked for; the attempt's results are refused all the while, and after.
    """
    with database.engine.begin() as connection:
        unbegun = repairs.note_unbegun(connection, now, limit, database.rules.lease)
    with database.engine.begin() as connection:
        return unbegun + repairs.repeat_stops(connection, now, limit, age, deadline)


def cancel_stuck_tasks(database: Database, _: datetime, limit: int) -> int:
    """Cancel tasks that can never run, plan by plan, each in a transaction; return of how many plans."""
    with database.engine.begin() as connection:
        found = repairs.stuck_plans(connection, limit)
    return _one_by_one(database, found, lambda transaction, row: bool(plans.cancel_stuck(transaction, row.key)))


def poke_idle_outputs(database: Database, now: datetime, limit: int, *, age: timedelta) -> int:
    """Ask workers to delete transient models that no task can need any more; return how many models."""
    with database.engine.begin() as connection:
        return repairs.poke_idle_outputs(connection, now, limit, age, database.rules.silence)


def forget_pokes(database: Database, now: datetime, limit: int, *, age: timedelta) -> int:
    """Delete pokes that were sent long ago; return how many."""
    with database.engine.begin() as connection:
        return repairs.forget_pokes(connection, now, limit, age)


def empty_stale_queues(database: Database, now: datetime, limit: int, *, age: timedelta) -> int:
    """Have the queues of organizations emptied whose last node has been silent for so long; return how many.

    Nothing is lost by it: when a node is heard again, all that is due is poked again.
    """
    with database.engine.begin() as connection:
        return queues.empty_stale(connection, now, limit, age)


def _one_by_one(database: Database, rows: Iterable[Row[Any]], repair: Callable[[Transaction, Row[Any]], bool]) -> int:
    repaired = 0
    for row in rows:
        crash.point("sweep.between")
        repaired += database.run(NOBODY, row.channel, lambda transaction, row=row: repair(transaction, row))  # type: ignore[misc]
    return repaired


def forget_nodes(database: Database, now: datetime, limit: int, *, age: timedelta) -> int:
    """Delete nodes that were heard last long ago; return how many."""
    with database.engine.begin() as connection:
        return repairs.forget_nodes(connection, now, limit, age)
