"""Functions that are not built yet and whose poke was lost: their owner is poked again, as for tasks."""

from datetime import timedelta
from functools import partial

from orchestrator.core.pokes import BUILD_FUNCTION, queue
from orchestrator.engine.sweeps import lost_pokes
from orchestrator.store.sweep import Sweep

_BUILDS = lost_pokes.repeating("functions", f"'{queue('')}' || owner", "status IN ($UNBUILT)", BUILD_FUNCTION)


def make(settings: lost_pokes.Settings) -> Sweep:
    """Return the sweep."""
    return Sweep(
        "sweep.lost_builds",
        settings.lost_poke_period,
        settings.sweep_batch,
        partial(lost_pokes.repeat, age=timedelta(seconds=settings.lost_poke_age), lost=_BUILDS),
    )
