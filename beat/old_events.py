"""Events that are old, and that no subscriber needs, are forgotten."""

from datetime import timedelta
from functools import partial

from beat.settings import BeatSettings
from beat.sweep import Sweep
from orchestrator.services import retention


def make(settings: BeatSettings) -> Sweep | None:
    """Return the sweep, None where events are kept for ever; the settings say how often it runs, and what is old."""
    if settings.event_retention is None:
        return None
    return Sweep(
        name="sweep.old_events",
        period=settings.old_event_period,
        batch=settings.sweep_batch,
        run=partial(
            retention.forget_events,
            age=timedelta(seconds=settings.event_retention),
            away=timedelta(seconds=settings.subscriber_retention),
        ),
    )
