"""The newest events of every channel, kept in memory once for all subscribers of a server process."""

import asyncio
import contextlib
from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass, field
from uuid import UUID

from orchestrator.core.errors import ClosedError, NotFoundError
from orchestrator.engine.transaction import Database
from orchestrator.trace import events, forgotten
from orchestrator.trace.events import Placed

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


@dataclass
class _Stream:
    """A subscriber: whose events it follows, and the position of the last one that it was sent."""

    channel: str
    position: int


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
        self._streams: dict[UUID, _Stream] = {}
        self._ended: dict[UUID, int] = {}
        self._start = self._last = 0
        self._changed = asyncio.Condition()
        self._closed = False

    def begin(self) -> None:
        """Begin at the newest event; call once, before the first step."""
        with self._database.begin() as connection:
            self._start = self._last = events.last_position(connection)

    async def step(self) -> int:
        """Pass on newly placed events; return how many."""
        fresh = await asyncio.to_thread(self._read, self._last, _READ)
        async with self._changed:
            for event in fresh:
                # Those of our own kinds have their places too, but subscribers do not know them.
                if event.message:
                    self._window(event.channel).add(event)
                self._last = event.position
            self._changed.notify_all()
        return len(fresh)

    async def changed(self, timeout: float) -> None:
        """Wait until events were passed on, or for some seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait()

    async def recheck(self) -> None:
        """Have the streams that wait ask whether they may still go on."""
        async with self._changed:
            self._changed.notify_all()

    async def close(self) -> None:
        """End all subscriptions."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    def sent(self) -> dict[UUID, int]:
        """Return up to which place each stream was sent all of its channel; of those that have ended, once."""
        ended, self._ended = self._ended, {}
        return ended | {identity: self._sent(stream) for identity, stream in self._streams.items()}

    def _sent(self, stream: _Stream) -> int:
        # Who has all that the channel tells goes on with the others, however quiet it is.
        up_to_date = stream.position >= self._window(stream.channel).last
        return max(stream.position, self._last) if up_to_date else stream.position

    async def follow(
        self,
        channel: str,
        position: int,
        subscription: UUID | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[bytes, None]:
        """Yield the serialized events of a channel after a position, those to come included.

        Args:
            channel: whose events.
            position: of the last event that the subscriber has.
            subscription: the stream's id, by which `sent` tells how far it is.
            check: raises where the stream may not go on; asked before each event, and while it waits at each sign of
                life and each `recheck`.

        Raises:
            ClosedError: the server stops.
            NotFoundError: events after the position were forgotten.
            UnavailableError: the database is at fault.
        """
        stream = _Stream(channel, position)
        with self._following(stream, subscription):
            while True:
                seen = self._last
                window = self._window(channel)
                if stream.position >= window.floor:
                    batch = window.after(stream.position, self._batch)
                else:
                    batch = await asyncio.to_thread(self._read, stream.position, self._batch, channel)
                    if not batch:
                        stream.position = max(stream.position, seen)
                        continue
                for event in batch:
                    if self._closed:
                        raise ClosedError
                    if event.message:
                        check()
                        yield event.message
                    stream.position = event.position
                if not batch:
                    await self._wait(window, stream.position, check)

    @contextlib.contextmanager
    def _following(self, stream: _Stream, subscription: UUID | None) -> Iterator[None]:
        if subscription is None:
            yield
            return
        self._streams[subscription] = stream
        try:
            yield
        finally:
            del self._streams[subscription]
            self._ended[subscription] = self._sent(stream)

    def _window(self, channel: str) -> _Window:
        return self._channels.setdefault(channel, _Window(self._start, self._kept))

    def _read(self, position: int, limit: int, channel: str | None = None) -> list[Placed]:
        with self._database.begin() as connection:
            found = events.read_after(connection, position, limit, channel)
            # Asked afterwards: what is forgotten from now on was still there.
            gone = forgotten.of(connection, channel) if channel is not None else None
        if gone and gone.position > position:
            until = gone.until.isoformat(timespec="seconds")
            raise NotFoundError(f"events that come next were forgotten, up to {until}: subscribe again")
        return found

    async def _wait(self, window: _Window, position: int, check: Callable[[], None]) -> None:
        def come() -> bool:
            check()
            return self._closed or window.last > position

        async with self._changed:
            await self._changed.wait_for(come)
        if self._closed:
            raise ClosedError
