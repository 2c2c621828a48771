"""What every sweep is: a name, a period, a batch, and one function that does a bounded batch and returns a count."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import Connection

from orchestrator.store.database import Database

log = structlog.get_logger()


@dataclass(frozen=True)
class Sweep:
    """A repair that is repeated for ever, and does no harm when two run at once.

    Args:
        name: of its Celery task.
        period: seconds between two runs.
        batch: most things that one transaction repairs.
        run: from (connection, now, batch) to how many things were repaired.
    """

    name: str
    period: float
    batch: int
    run: Callable[[Connection, datetime, int], int]

    def sweep(self, database: Database, now: datetime) -> int:
        """Repair all there is at a moment, batch by batch, each in a transaction; return how many things."""
        total = 0
        while True:
            with database.engine.begin() as connection:
                count = self.run(connection, now, self.batch)
            total += count
            if count < self.batch:
                break
        if total:
            log.info("sweep.repaired", sweep=self.name, count=total)
        return total
