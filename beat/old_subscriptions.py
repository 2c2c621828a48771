"""Event streams that ended long ago are forgotten: their subscribers did not come back in time."""

from datetime import timedelta
from functools import partial

from beat.settings import BeatSettings
from beat.sweep import Sweep
from orchestrator.services import retention


def make(settings: BeatSettings) -> Sweep:
    """Return the sweep; the settings say how often it runs, and how much it takes at once."""
    return Sweep(
        name="sweep.old_subscriptions",
        period=settings.old_subscription_period,
        batch=settings.sweep_batch,
        run=partial(retention.forget_subscriptions, age=timedelta(seconds=settings.subscriber_retention)),
    )
