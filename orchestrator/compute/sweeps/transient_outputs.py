"""Transient models that no task can need any more: the worker that keeps them is asked to delete them."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from orchestrator.core.pokes import DISABLE_OUTPUTS
from orchestrator.engine.outbox import written
from orchestrator.store.database import Database
from orchestrator.store.statements import statement
from orchestrator.store.sweep import Sweep

_DISABLE = statement(
    """
    WITH idle AS (
             SELECT models.key, task_key, tasks.queue
             FROM models JOIN tasks ON tasks.key = task_key JOIN task_states ON task_states.key = task_key
                         LEFT JOIN queues ON queues.name = tasks.queue
             WHERE transient AND NOT disabled AND status IN ($ENDED)
               AND (models.poked_at IS NULL OR models.poked_at < since
                    OR (models.poked_at < CAST(:now AS timestamptz) - CAST(:age AS interval)
                        AND (heard_at IS NULL OR heard_at > CAST(:now AS timestamptz) - CAST(:silence AS interval))))
               AND NOT EXISTS (SELECT FROM outbox WHERE key = task_key AND message = '$MESSAGE' AND sent_at IS NULL)
               AND EXISTS (SELECT FROM edges WHERE parent = task_key)
               AND NOT EXISTS (SELECT FROM edges JOIN task_states AS children ON children.key = child
                               WHERE parent = task_key AND children.status NOT IN ($ENDED))
               AND NOT EXISTS (SELECT FROM model_uses JOIN task_states AS users ON users.key = user_key
                               WHERE model_uses.task_key = models.task_key AND users.status NOT IN ($ENDED))
             ORDER BY models.key LIMIT :limit FOR NO KEY UPDATE OF models SKIP LOCKED
         ),
         marked AS (UPDATE models SET poked_at = :now FROM idle WHERE models.key = idle.key),
         $POKE
    SELECT count(*), pg_notify('orchestrator_written', '') FROM idle HAVING count(*) > 0
    """,
    POKE=written("""
        SELECT DISTINCT '$MESSAGE', queue, CAST(0 AS smallint), task_key, 1, CAST(:now AS timestamptz),
                        CAST(NULL AS text)
        FROM idle
    """),
    MESSAGE=DISABLE_OUTPUTS,
)


def poke(database: Database[Any], now: datetime, limit: int, *, age: timedelta) -> int:
    """Ask workers to delete transient models that no task can need any more; return how many models.

    Args:
        database: where they are.
        now: the time.
        limit: most models.
        age: how long they have before they are asked again; not while their nodes are silent.
    """
    parameters = {"now": now, "limit": limit, "age": age, "silence": database.rules.silence}
    with database.begin() as connection:
        row = connection.execute(_DISABLE, parameters).one_or_none()
    return int(row[0]) if row else 0


class Settings(Protocol):
    """What it must be told; see `beat.settings`."""

    transient_output_period: float
    transient_output_age: float
    sweep_batch: int


def make(settings: Settings) -> Sweep:
    """Return the sweep."""
    return Sweep(
        "sweep.transient_outputs",
        settings.transient_output_period,
        settings.sweep_batch,
        partial(poke, age=timedelta(seconds=settings.transient_output_age)),
    )
