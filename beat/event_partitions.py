"""The events of each month lie in a partition: those of the months to come are made in time."""

from beat.settings import BeatSettings
from beat.sweep import Sweep
from orchestrator.services import retention


def make(settings: BeatSettings) -> Sweep:
    """Return the sweep; the settings say how often it runs."""
    return Sweep(
        name="sweep.event_partitions",
        period=settings.event_partition_period,
        batch=settings.sweep_batch,
        run=retention.make_partitions,
    )
