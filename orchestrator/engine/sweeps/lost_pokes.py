"""Tasks To do whose poke was lost are poked again: the broker was flushed, or a worker died.

The pause between two pokes doubles each time, up to an hour. A queue whose nodes are all silent is not poked again
before one is heard, so that it does not fill; then all that is due is poked at once.
"""

from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from sqlalchemy import TextClause

from orchestrator.core.pokes import RUN_TASK
from orchestrator.engine.outbox import UNSENT, written
from orchestrator.store.database import Database
from orchestrator.store.statements import statement
from orchestrator.store.sweep import Sweep

# A poke was sent before somebody came (back) to read the queue; or it is older than an age that doubles with each, up
# to an hour, and somebody reads, or nobody can tell.
_LOST = """
    (coalesce($AT < since, false)
     OR ($AT <= CAST(:now AS timestamptz) - least(CAST(:age AS interval) * power(2, pokes), interval '1 hour')
         AND (heard_at IS NULL OR heard_at > CAST(:now AS timestamptz) - CAST(:silence AS interval))))
"""
# One that still waits, for the broker or for room, is not lost, and one that had to wait is not older than its sending.
_DUE = """
    $POKED_LOST
    AND NOT EXISTS (SELECT FROM outbox WHERE outbox.key = $TABLE.key AND message = '$MESSAGE'
                    AND (sent_at IS NULL OR NOT $SENT_LOST))
    ORDER BY $ORDER LIMIT :limit
"""
_POKED = "poked_at = :now, pokes = CASE WHEN returned THEN 0 ELSE least(pokes + 1, 20) END"
# The same row is sent again: so it keeps its place before those that were never sent.
_REPEAT = """
    WITH lost AS (
             SELECT key, $QUEUE AS queue, $ATTEMPT AS attempt, $PRIORITY AS priority, $SENT_AT AS sent_at,
                    coalesce(poked_at < since, false) AS returned
             FROM $SOURCE LEFT JOIN queues ON queues.name = $QUEUE
             WHERE $WHERE AND $DUE FOR NO KEY UPDATE OF $TABLE SKIP LOCKED
         ),
         again AS (
             UPDATE $TABLE SET $POKED FROM lost WHERE $TABLE.key = lost.key
             RETURNING lost.key, lost.queue, lost.attempt, lost.priority, lost.sent_at
         ),
         kept AS (
             UPDATE outbox SET sent_at = NULL FROM again
             WHERE outbox.id = (SELECT max(id) FROM outbox AS sent
                                WHERE sent.key = again.key AND sent.message = '$MESSAGE'
                                  AND sent.attempt = again.attempt)
             RETURNING outbox.id, outbox.queue, outbox.priority, outbox.message, outbox.key
         ),
         taken AS (
             DELETE FROM sent_pokes AS out USING again
             WHERE out.queue = again.queue AND out.sent_at = again.sent_at AND out.key = again.key
         ),
         unsent_again AS ($UNSENT FROM kept),
         $POKE
    SELECT count(*), pg_notify('orchestrator_written', '') FROM lost HAVING count(*) > 0
"""


def repeating(
    table: str,
    queue: str,
    where: str,
    message: str,
    *,
    source: str = "",
    attempt: str = "1",
    priority: str = "CAST(0 AS smallint)",
    sent_at: str = "CAST(NULL AS timestamptz)",
    order: str = "poked_at",
) -> TextClause:
    """Return the statement that pokes again for rows whose last poke was lost.

    Args:
        table: whose rows; with `poked_at` and `pokes`.
        queue: of a row, in SQL.
        where: which rows are to be poked for, in SQL.
        message: of `core.pokes`.
        source: the table with what is joined to it; itself by default.
        attempt: that is due of a row, in SQL.
        priority: of a row, in SQL.
        sent_at: when the poke of a row was sent that is out, in SQL; NULL where it is none that announces an attempt.
        order: in which they are found, in SQL.
    """
    return statement(
        _REPEAT,
        DUE=_DUE,
        ORDER=order,
        POKED_LOST=_LOST.replace("$AT", "poked_at"),
        SENT_LOST=_LOST.replace("$AT", "sent_at"),
        POKED=_POKED,
        TABLE=table,
        QUEUE=queue,
        SOURCE=source or table,
        WHERE=where,
        MESSAGE=message,
        ATTEMPT=attempt,
        PRIORITY=priority,
        SENT_AT=sent_at,
        UNSENT=UNSENT,
        POKE=written("""
            SELECT '$MESSAGE', queue, priority, key, attempt, CAST(:now AS timestamptz), CAST(NULL AS text) FROM again
            WHERE key NOT IN (SELECT key FROM kept)
        """),
    )


# No index knows the states of tasks: a poke of each that is To do is out, or still to be sent. Lost ones are found in
# the order of those that are out, which they leave when they are repeated: so a batch reads little more than it
# repeats, however many are lost.
_TASKS = repeating(
    "task_states",
    "out.queue",
    "status = $TO_DO",
    RUN_TASK,
    source="sent_pokes AS out JOIN task_states USING (key)",
    attempt="attempts + 1",
    priority="out.priority",
    sent_at="out.sent_at",
    order="out.queue, out.sent_at",
)


def repeat(database: Database[Any], now: datetime, limit: int, *, age: timedelta, lost: TextClause = _TASKS) -> int:
    """Poke again for what is due and whose last one was lost; return how many pokes were lost.

    One was sent before the queue's first node came, or came back after a silence; another is too old, unless the
    queue's nodes are silent. A queue that has never had a node may have workers that send no heartbeats.

    Args:
        database: where they are.
        now: the time.
        limit: most pokes.
        age: of the first poke; the age that counts as too old doubles with each poke, up to an hour.
        lost: what to poke for, see `repeating`; tasks To do by default.
    """
    parameters = {"now": now, "age": age, "limit": limit, "silence": database.rules.silence}
    with database.begin() as connection:
        row = connection.execute(lost, parameters).one_or_none()
    return int(row[0]) if row else 0


class Settings(Protocol):
    """What it must be told; see `beat.settings`."""

    lost_poke_period: float
    lost_poke_age: float
    sweep_batch: int


def make(settings: Settings) -> Sweep:
    """Return the sweep."""
    return Sweep(
        "sweep.lost_pokes",
        settings.lost_poke_period,
        settings.sweep_batch,
        partial(repeat, age=timedelta(seconds=settings.lost_poke_age)),
    )
