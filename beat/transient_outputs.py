"""Transient models that no task can need any more: the worker that keeps them is asked to delete them."""

from datetime import timedelta
from functools import partial

from beat.settings import BeatSettings
from beat.sweep import Sweep
from orchestrator.services import repairs


def make(settings: BeatSettings) -> Sweep:
    """Return the sweep; the settings say how often it runs, and how much it takes at once."""
    return Sweep(
        name="sweep.transient_outputs",
        period=settings.transient_output_period,
        batch=settings.sweep_batch,
        run=partial(repairs.poke_idle_outputs, age=timedelta(seconds=settings.transient_output_age)),
    )
