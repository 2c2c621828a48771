"""What every sweep is: a name, a period, a batch, and one function that does a bounded batch and returns a count."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from orchestrator.core import crash
from orchestrator.store import vitals
from orchestrator.store.database import Database

log = structlog.get_logger()


@dataclass(frozen=True)
class Sweep:
    """A repair that is repeated for ever, and does no harm when two run at once.

    Args:
        name: of its Celery task.
        period: seconds between two runs.
        batch: most things that are repaired at once.
        run: from (database, now, batch) to how many things were repaired.
    """

    name: str
    period: float
    batch: int
    run: Callable[[Database, datetime, int], int]

    def sweep(self, database: Database, now: datetime) -> int:
        """Repair all there is at a moment, batch by batch; note that it ran, and return how many things."""
        total = 0
        while True:
            crash.point(f"{self.name}.before")
            count = self.run(database, now, self.batch)
            crash.point(f"{self.name}.after")
            total += count
            if count < self.batch:
                break
        with database.engine.begin() as connection:
            vitals.note_sweep(connection, self.name, now, total)
        if total:
            log.info("sweep.repaired", sweep=self.name, count=total)
        return total
