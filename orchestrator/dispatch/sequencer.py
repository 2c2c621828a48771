"""Gives committed events their place in the order of readers."""

import asyncio

from orchestrator.core import crash
from orchestrator.engine.transaction import Database
from orchestrator.trace import events

_BATCH = 5000


class Sequencer:
    """Runs in every server process; a lock in the database lets one place events at a time.

    Args:
        database: where the events are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def step(self) -> int:
        """Place one batch, in a thread; return how many events got their place."""
        return await asyncio.to_thread(self._place)

    def _place(self) -> int:
        with self._database.begin() as connection:
            placed = events.place(connection, _BATCH)
            if placed:
                crash.point("sequencer.before_commit")
        if placed:
            crash.point("sequencer.after_commit")
        return placed
