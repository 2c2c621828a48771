"""Attempts whose lease ran out: their worker is lost, and the task is tried again, or Failed after too many."""

from beat.settings import BeatSettings
from beat.sweep import Sweep
from orchestrator.services import repairs


def make(settings: BeatSettings) -> Sweep:
    """Return the sweep; the settings say how often it runs, and how much it takes at once."""
    return Sweep(
        name="sweep.expired_leases",
        period=settings.expired_lease_period,
        batch=settings.sweep_batch,
        run=repairs.expire_leases,
    )
