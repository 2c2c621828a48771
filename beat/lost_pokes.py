"""Tasks To do and functions to build whose poke was lost are poked again: the broker was flushed, or a worker died.

The pause between two pokes doubles each time, up to an hour. An organization whose nodes are all silent is not poked
again before one is heard, so that its queue does not fill; then all that is due is poked at once.
"""

from datetime import timedelta
from functools import partial

from beat.settings import BeatSettings
from beat.sweep import Sweep
from orchestrator.services import repairs


def make(settings: BeatSettings) -> Sweep:
    """Return the sweep.

    Args:
        settings: how often it runs, how old a poke must be, how many tasks it takes at once.
    """
    return Sweep(
        name="sweep.lost_pokes",
        period=settings.lost_poke_period,
        batch=settings.sweep_batch,
        run=partial(repairs.repeat_lost_pokes, age=timedelta(seconds=settings.lost_poke_age)),
    )
