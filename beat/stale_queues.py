"""Queues that nobody has read for a long time are emptied: their organization's nodes have gone, or are away."""

from datetime import timedelta
from functools import partial

from beat.settings import BeatSettings
from beat.sweep import Sweep
from orchestrator.services import repairs


def make(settings: BeatSettings) -> Sweep:
    """Return the sweep; the settings say how often it runs, and how much it takes at once."""
    return Sweep(
        name="sweep.stale_queues",
        period=settings.stale_queue_period,
        batch=settings.sweep_batch,
        run=partial(repairs.empty_stale_queues, age=timedelta(seconds=settings.queue_retention)),
    )
