"""Pokes that were sent long ago are forgotten."""

from datetime import timedelta
from functools import partial

from beat.settings import BeatSettings
from beat.sweep import Sweep
from orchestrator.services import repairs


def make(settings: BeatSettings) -> Sweep:
    """Return the sweep; the settings say how often it runs, and how much it takes at once."""
    return Sweep(
        name="sweep.old_pokes",
        period=settings.old_poke_period,
        batch=settings.sweep_batch,
        run=partial(repairs.forget_pokes, age=timedelta(seconds=settings.poke_retention)),
    )
