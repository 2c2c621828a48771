"""Attempts of tasks that ended long ago are forgotten."""

from datetime import timedelta
from functools import partial

from beat.settings import BeatSettings
from beat.sweep import Sweep
from orchestrator.services import retention


def make(settings: BeatSettings) -> Sweep | None:
    """Return the sweep, None where attempts are kept for ever; the settings say how often it runs, and what is old."""
    if settings.attempt_retention is None:
        return None
    return Sweep(
        name="sweep.old_attempts",
        period=settings.old_attempt_period,
        batch=settings.sweep_batch,
        run=partial(
            retention.forget_attempts,
            age=timedelta(seconds=settings.attempt_retention),
            deadline=timedelta(seconds=settings.stop_deadline),
        ),
    )
