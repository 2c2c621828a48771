"""Attempts that were cancelled while they ran, and whose node has not said that the process ended: it is told again.

Nothing that such an attempt reports is accepted, from the moment of the cancellation on. One that its node does not
name for a whole lease never began, as the answer to its claim was lost: it is noted as stopped.
"""

from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from orchestrator.core.pokes import STOP_ATTEMPTS
from orchestrator.engine.attempts import UNACKNOWLEDGED
from orchestrator.engine.outbox import written
from orchestrator.store.database import Database
from orchestrator.store.statements import statement
from orchestrator.store.sweep import Sweep

# A new poke only when the last one lies in the first half of the time since the attempt ended: so the pause doubles.
_STOP = statement(
    """
    WITH running AS (
             SELECT task_key, number FROM unsettled JOIN attempts USING (task_key, number)
             WHERE $UNACKNOWLEDGED
               AND ended_at < CAST(:now AS timestamptz) - CAST(:age AS interval)
               AND ended_at > CAST(:now AS timestamptz) - CAST(:deadline AS interval)
               AND (poked_at IS NULL OR poked_at <= ended_at + (CAST(:now AS timestamptz) - ended_at) / 2)
               AND NOT EXISTS (SELECT FROM outbox WHERE key = task_key AND message = '$STOP' AND sent_at IS NULL)
             ORDER BY ended_at LIMIT :limit FOR NO KEY UPDATE OF attempts SKIP LOCKED
         ),
         marked AS (
             UPDATE attempts SET poked_at = :now FROM running
             WHERE attempts.task_key = running.task_key AND attempts.number = running.number
         ),
         $POKE
    SELECT count(*), pg_notify('orchestrator_written', '') FROM poke HAVING count(*) > 0
    """,
    UNACKNOWLEDGED=UNACKNOWLEDGED,
    POKE=written("""
        SELECT '$STOP', queue, CAST(0 AS smallint), task_key, number, CAST(:now AS timestamptz), CAST(NULL AS text)
        FROM running JOIN tasks ON key = task_key
    """),
    STOP=STOP_ATTEMPTS,
)

# A heartbeat names all that its node runs: what a node has never named, it never began.
_UNBEGUN = statement(
    """
    WITH unbegun AS (
             SELECT task_key, number FROM unsettled JOIN attempts USING (task_key, number)
             JOIN tasks ON key = task_key
             JOIN nodes ON nodes.channel = tasks.channel AND organization = worker AND name = node
             WHERE $UNACKNOWLEDGED AND delivered_at IS NULL
               AND heard_at > ended_at + CAST(:lease AS interval)
             ORDER BY ended_at LIMIT :limit FOR NO KEY UPDATE OF attempts SKIP LOCKED
         )
    UPDATE attempts SET delivered_at = :now, stopped_at = :now FROM unbegun
    WHERE attempts.task_key = unbegun.task_key AND attempts.number = unbegun.number
    """,
    UNACKNOWLEDGED=UNACKNOWLEDGED,
)


def repeat(database: Database[Any], now: datetime, limit: int, *, age: timedelta, deadline: timedelta) -> int:
    """Tell nodes again to stop attempts whose end they have not acknowledged; return how many.

    Those that their node never heard of are noted as stopped instead, and counted too.

    Args:
        database: where they are.
        now: the time.
        limit: most attempts.
        age: how long an acknowledgement may take; the pause between two pokes doubles from there.
        deadline: how long one is asked for; the attempt's results are refused all the while, and after.
    """
    with database.begin() as connection:
        unbegun = connection.execute(_UNBEGUN, {"now": now, "limit": limit, "lease": database.rules.lease}).rowcount
    with database.begin() as connection:
        parameters = {"now": now, "limit": limit, "age": age, "deadline": deadline}
        row = connection.execute(_STOP, parameters).one_or_none()
    return unbegun + (int(row[0]) if row else 0)


class Settings(Protocol):
    """What it must be told; see `beat.settings`."""

    unacknowledged_stop_period: float
    stop_age: float
    stop_deadline: float
    sweep_batch: int


def make(settings: Settings) -> Sweep:
    """Return the sweep."""
    return Sweep(
        "sweep.unacknowledged_stops",
        settings.unacknowledged_stop_period,
        settings.sweep_batch,
        partial(repeat, age=timedelta(seconds=settings.stop_age), deadline=timedelta(seconds=settings.stop_deadline)),
    )
