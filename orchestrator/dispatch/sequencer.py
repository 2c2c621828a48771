"""Gives committed events their place in the order of readers."""

import asyncio
import time
from collections.abc import Callable
from uuid import uuid4

from orchestrator.core import crash
from orchestrator.engine.transaction import Database
from orchestrator.trace import places, subscriptions

_BATCH = 5000
_ASK_SECONDS = 1.0


class Sequencer:
    """Runs in every server process; a lock in the database lets one place events at a time.

    Args:
        database: where the events are.
        placed: called when events got their place.

    Attributes:
        name: of this one, which is in its notifications.
        is_followed: whether streams of events were open, in any server process, a moment ago.
    """

    def __init__(self, database: Database, placed: Callable[[], None] = lambda: None) -> None:
        self._database = database
        self._placed = placed
        self._asked = 0.0
        self.name = uuid4().hex
        self.is_followed = True

    async def step(self) -> bool:
        """Place one batch, in a thread; return whether there may be more."""
        placed = await asyncio.to_thread(self._place)
        if placed:
            self._placed()
        return placed >= _BATCH

    def _place(self) -> int:
        with self._database.begin() as connection:
            placed = places.place(connection, _BATCH, self.name)
            if placed and time.monotonic() > self._asked + _ASK_SECONDS:
                self._asked, self.is_followed = time.monotonic(), subscriptions.are_open(connection)
            if placed:
                crash.point("sequencer.before_commit")
        if placed:
            crash.point("sequencer.after_commit")
        return placed
