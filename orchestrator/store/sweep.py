"""What every sweep is: a name, a period, a batch, and one function that does a bounded batch and returns a count."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
import structlog
from sqlalchemy import text

from orchestrator.core import crash
from orchestrator.store.connection import Connection
from orchestrator.store.database import Database

log = structlog.get_logger()


_NOTE = text("""
    INSERT INTO sweeps (name, ran_at, repaired) VALUES (:name, :now, :repaired)
    ON CONFLICT (name) DO UPDATE
    SET ran_at = greatest(sweeps.ran_at, excluded.ran_at), repaired = sweeps.repaired + excluded.repaired
""")


def note(connection: Connection, name: str, now: datetime, repaired: int) -> None:
    """Note that a sweep has run.

    Args:
        connection: inside a transaction.
        name: of the sweep.
        now: when it began.
        repaired: how many things it repaired.
    """
    connection.execute(_NOTE, {"name": name, "now": now, "repaired": repaired})


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
    run: Callable[[Any, datetime, int], int]

    def sweep(self, database: Database[Any], now: datetime) -> int:
        """Repair all there is at a moment, batch by batch; note that it ran, and return how many things."""
        try:
            total = self._repair(database, now)
        except psycopg.errors.InsufficientPrivilege as error:
            reason = str(error).partition("\n")[0]
            log.error("sweep.not_allowed", sweep=self.name, reason=reason, hint="docs/operate/database.md, Rights")
            return 0
        with database.begin() as connection:
            note(connection, self.name, now, total)
        if total:
            log.info("sweep.repaired", sweep=self.name, count=total)
        return total

    def _repair(self, database: Database[Any], now: datetime) -> int:
        total = 0
        while True:
            crash.point(f"{self.name}.before")
            count = self.run(database, now, self.batch)
            crash.point(f"{self.name}.after")
            total += count
            if count < self.batch:
                return total
