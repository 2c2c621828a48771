"""Notes how far the event streams of this server process are, so that nothing is forgotten that they need."""

import asyncio
from uuid import UUID

from orchestrator.dispatch.feed import Feed
from orchestrator.engine.transaction import Database
from orchestrator.trace import subscriptions


class Cursors:
    """The places of all streams, in the database.

    Args:
        database: where they are noted.
        feed: what the streams follow.
    """

    def __init__(self, database: Database, feed: Feed) -> None:
        self._database = database
        self._feed = feed

    async def step(self) -> bool:
        """Note them all, in a thread; return False, since nothing is left to note."""
        if sent := self._feed.sent():
            await asyncio.to_thread(self._note, sent)
        return False

    def _note(self, sent: dict[UUID, int]) -> None:
        with self._database.begin() as connection:
            subscriptions.note(connection, sent, self._database.clock.now())
