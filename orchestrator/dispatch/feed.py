"""The newest events of every channel, kept in memory once for all subscribers of a server process."""

import asyncio
import contextlib
from bisect import bisect_right
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from orchestrator.core.errors import ClosedError
from orchestrator.store import events
from orchestrator.store.database import Database
from orchestrator.store.events import Placed

_KEPT = 4096
_KEPT_BYTES = 16 * 1024 * 1024
_READ = 1000


@dataclass
class _Window:
    """The newest events of a channel: all those after the position `floor`."""

    floor: int
    most: int
    positions: list[int] = field(default_factory=list)
    events: list[Placed] = field(default_factory=list)
    size: int = 0

    @property
    def last(self) -> int:
        return self.positions[-1] if self.positions else self.floor

    def add(self, event: Placed) -> None:
        self.positions.append(event.position)
        self.events.append(event)
        self.size += len(event.message)
        # Trimmed by half at a time, so that an event costs no more than it should.
        while len(self.events) > self.most or self.size > _KEPT_BYTES:
            older = (len(self.events) + 1) // 2
            self.floor = self.positions[older - 1]
            self.size -= sum(len(event.message) for event in self.events[:older])
            del self.positions[:older], self.events[:older]

    def after(self, position: int, limit: int) -> list[Placed]:
        first = bisect_right(self.positions, position)
        return self.events[first : first + limit]


class Feed:
    """Follows the order of readers, and lets any number of subscribers follow it from where they are.

    A subscriber that is far behind, or slow, reads from the database until it reaches the window; it holds nothing
    in memory but the batch that it sends.

    Args:
        database: where the events are.
        batch: most events that a subscriber takes at once.
        kept: most events of a channel that are held in memory; fewer where they are large.
    """

    def __init__(self, database: Database, batch: int, kept: int = _KEPT) -> None:
        self._database = database
        self._batch = batch
        self._kept = kept
        self._channels: dict[str, _Window] = {}
        self._start = self._last = 0
        self._changed = asyncio.Condition()
        self._closed = False

    def begin(self) -> None:
        """Begin at the newest event; call once, before the first step."""
        with self._database.engine.begin() as connection:
            self._start = self._last = events.last_position(connection)

    async def step(self) -> int:
        """Pass on newly placed events; return how many."""
        fresh = await asyncio.to_thread(self._read, self._last, _READ)
        async with self._changed:
            for event in fresh:
                self._window(event.channel).add(event)
                self._last = event.position
            self._changed.notify_all()
        return len(fresh)

    async def changed(self, timeout: float) -> None:
        """Wait until events were passed on, or for some seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait()

    async def close(self) -> None:
        """End all subscriptions."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def follow(self, channel: str, position: int) -> AsyncIterator[bytes]:
        """Yield the serialized events of a channel after a position, those to come included.

        Raises:
            ClosedError: the server stops.
        """
        while True:
            seen = self._last
            window = self._window(channel)
            if position >= window.floor:
                batch = window.after(position, self._batch)
            else:
                batch = await asyncio.to_thread(self._read, position, self._batch, channel)
                if not batch:
                    position = max(position, seen)
                    continue
            for event in batch:
                if self._closed:
                    raise ClosedError
                yield event.message
                position = event.position
            if not batch:
                await self._wait(window, position)

    def _window(self, channel: str) -> _Window:
        return self._channels.setdefault(channel, _Window(self._start, self._kept))

    def _read(self, position: int, limit: int, channel: str | None = None) -> list[Placed]:
        with self._database.engine.begin() as connection:
            return events.read_after(connection, position, limit, channel)

    async def _wait(self, window: _Window, position: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or window.last > position)
        if self._closed:
            raise ClosedError
