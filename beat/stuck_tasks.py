"""Tasks that can never run, since their compute plan has ended or a parent has failed: they are Cancelled."""

from beat.settings import BeatSettings
from beat.sweep import Sweep
from orchestrator.services import repairs


def make(settings: BeatSettings) -> Sweep:
    """Return the sweep; the settings say how often it runs, and how much it takes at once."""
    return Sweep(
        name="sweep.stuck_tasks",
        period=settings.stuck_task_period,
        batch=settings.sweep_batch,
        run=repairs.cancel_stuck_tasks,
    )
