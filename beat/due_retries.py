"""Tasks whose pause before the next attempt is over: their worker is poked."""

from beat.settings import BeatSettings
from beat.sweep import Sweep
from orchestrator.services import repairs


def make(settings: BeatSettings) -> Sweep:
    """Return the sweep; the settings say how often it runs, and how much it takes at once."""
    return Sweep(
        name="sweep.due_retries",
        period=settings.due_retry_period,
        batch=settings.sweep_batch,
        run=repairs.poke_due_retries,
    )
