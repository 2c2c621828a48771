"""Attempts that were cancelled while they ran, and whose node has not said that the process ended: it is told again.

Nothing that such an attempt reports is accepted, from the moment of the cancellation on. One that its node does not
name for a whole lease never began, as the answer to its claim was lost: it is noted as stopped.
"""

from datetime import timedelta
from functools import partial

from beat.settings import BeatSettings
from beat.sweep import Sweep
from orchestrator.services import repairs


def make(settings: BeatSettings) -> Sweep:
    """Return the sweep; the settings say how often it runs, and how much it takes at once."""
    return Sweep(
        name="sweep.unacknowledged_stops",
        period=settings.unacknowledged_stop_period,
        batch=settings.sweep_batch,
        run=partial(
            repairs.repeat_stops,
            age=timedelta(seconds=settings.stop_age),
            deadline=timedelta(seconds=settings.stop_deadline),
        ),
    )
