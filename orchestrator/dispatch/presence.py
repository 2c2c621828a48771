"""Notes that this server process serves, so that no lease ends in a time in which nobody could renew it."""

import asyncio

import structlog

from orchestrator.engine import presence
from orchestrator.engine.transaction import Database

log = structlog.get_logger()

# Notes in the time without which a gap is seen: one that comes late makes none.
_NOTES = 4


class Presence:
    """The word of this process that it serves, in the database.

    Args:
        database: where it is noted.

    Attributes:
        period: seconds between two notes.
    """

    def __init__(self, database: Database) -> None:
        self.period = database.rules.gap.total_seconds() / _NOTES
        self._database = database

    async def step(self) -> bool:
        """Note it, in a thread; return False, since nothing is left to note."""
        await asyncio.to_thread(self._note)
        return False

    def _note(self) -> None:
        rules = self._database.rules
        with self._database.begin() as connection:
            begins = presence.note(connection, rules.gap)
            self._database.measure(connection)
        if begins:
            log.info("service.begins", seconds_until_a_lease_may_end=rules.lease.total_seconds())
