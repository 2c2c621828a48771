"""Nodes that were heard last long ago are forgotten: they were renamed, or have gone."""

from datetime import timedelta
from functools import partial

from beat.settings import BeatSettings
from beat.sweep import Sweep
from orchestrator.services import repairs


def make(settings: BeatSettings) -> Sweep:
    """Return the sweep; the settings say how often it runs, and how much it takes at once."""
    return Sweep(
        name="sweep.silent_nodes",
        period=settings.silent_node_period,
        batch=settings.sweep_batch,
        run=partial(repairs.forget_nodes, age=timedelta(seconds=settings.node_retention)),
    )
