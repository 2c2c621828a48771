"""Gives committed events their place in the order of readers."""

import asyncio
from collections.abc import Callable

from orchestrator.core import crash
from orchestrator.engine.transaction import Database
from orchestrator.trace import places

_BATCH = 5000


class Sequencer:
    """Runs in every server process; a lock in the database lets one place events at a time.

    Args:
        database: where the events are.
        placed: called when events got their place.
    """

    def __init__(self, database: Database, placed: Callable[[], None] = lambda: None) -> None:
        self._database = database
        self._placed = placed

    async def step(self) -> bool:
        """Place one batch, in a thread; return whether there may be more."""
        placed = await asyncio.to_thread(self._place)
        if placed:
            self._placed()
        return placed >= _BATCH

    def _place(self) -> int:
        with self._database.begin() as connection:
            placed = places.place(connection, _BATCH)
            if placed:
                crash.point("sequencer.before_commit")
        if placed:
            crash.point("sequencer.after_commit")
        return placed
