"""The newest events of each channel that is followed, kept in memory once for all subscribers of a server process."""

import asyncio
import contextlib
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Iterator
from dataclasses import dataclass, field
from uuid import UUID

from orchestrator.core.errors import ClosedError, NotFoundError
from orchestrator.engine.transaction import Database
from orchestrator.trace import forgotten, places
from orchestrator.trace.places import Placed

_KEPT = 4096
_KEPT_BYTES = 16 * 1024 * 1024
_READ = 1000
_FIRST = 100
"""Events that are read first for a subscriber who is behind, so that it need not wait for many."""


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
class _Reading:
    """A batch of at most so many events that is being read from the database; `seen` is the newest position that was
    known when it began."""

    most: int
    seen: int
    batch: asyncio.Task[list[Placed]]


@dataclass
class _Stream:
    """A subscriber: whose events it follows, the position of the last one that it was sent, how many are to be read for
    it at once, and what is read ahead."""

    channel: str
    position: int
    most: int = _FIRST
    ahead: _Reading | None = None

    def stop_reading(self) -> None:
        if self.ahead is not None:
            self.ahead.batch.cancel()
            self.ahead = None


class Feed:
    """Follows the order of readers, and lets any number of subscribers follow it from where they are.

    A channel has a window, of its newest events, as long as somebody follows it. A subscriber that is far behind, or
    slow, reads from the database until it reaches the window; it holds nothing in memory but the batch that it sends,
    and the next one, which is read meanwhile.

    Args:
        database: where the events are.
        batch: most events that a subscriber takes at once.
        kept: most events of a channel that are held in memory; fewer where they are large.
    """

    def __init__(self, database: Database, batch: int, kept: int = _KEPT) -> None:
        self._database = database
        self._batch = batch
        self._kept = kept
        self._followed: Counter[str] = Counter()
        self._windows: dict[str, _Window] = {}
        self._streams: dict[UUID, _Stream] = {}
        self._ended: dict[UUID, int] = {}
        self._last = 0
        self._changed = asyncio.Condition()
        self._closed = False

    def begin(self) -> None:
        """Begin at the newest event; call once, before the first step."""
        with self._database.begin() as connection:
            self._last = places.last_position(connection)

    @property
    def is_followed(self) -> bool:
        """Whether anybody follows a channel here."""
        return bool(self._followed)

    async def step(self) -> bool:
        """Pass on newly placed events of the channels that are followed; return whether there may be more."""
        windows = {channel: window for channel, window in self._windows.items() if self._followed[channel]}
        last, fresh = self._last, list[Placed]()
        if self._followed:
            last, fresh = await asyncio.to_thread(self._look, list(windows))
        async with self._changed:
            for event in fresh:
                # Those of our own kinds have their places too, but subscribers do not know them.
                if event.message:
                    windows[event.channel].add(event)
            self._last = fresh[-1].position if fresh else last
            # What came before it is in the database alone.
            opened = {channel: _Window(self._last, self._kept) for channel in self._followed}
            self._windows = opened | windows
            self._changed.notify_all()
        return self._last < last

    def _look(self, channels: Collection[str]) -> tuple[int, list[Placed]]:
        with self._database.apart() as connection:
            last = places.last_position(connection)
            if not channels:
                return last, []
            return last, places.read_after(connection, self._last, _READ, channels)

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
        window = self._windows.get(stream.channel)
        up_to_date = window is not None and stream.position >= window.last
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
                for event in await self._next(stream, check):
                    if self._closed:
                        raise ClosedError
                    if event.message:
                        check()
                        yield event.message
                    stream.position = event.position

    async def follow_batches(
        self,
        channel: str,
        position: int,
        subscription: UUID | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[list[bytes], None]:
        """Yield the same as `follow`, in lists, between which it is checked whether the stream may go on."""
        stream = _Stream(channel, position)
        with self._following(stream, subscription):
            while True:
                batch = await self._next(stream, check)
                if self._closed:
                    raise ClosedError
                check()
                if messages := [event.message for event in batch if event.message]:
                    yield messages
                stream.position = batch[-1].position

    async def _next(self, stream: _Stream, check: Callable[[], None]) -> list[Placed]:
        """Return what comes next for a stream, at least one event; wait for it if need be."""
        while True:
            if self._within(stream.channel, stream.position):
                stream.stop_reading()
                batch = self._windows[stream.channel].after(stream.position, self._batch)
            else:
                batch = await self._next_read(stream)
            if batch:
                return batch
            await self._wait(stream, check)

    def _within(self, channel: str, position: int) -> bool:
        """Whether all that comes after a position is in the window."""
        window = self._windows.get(channel)
        return window is not None and position >= window.floor

    async def _next_read(self, stream: _Stream) -> list[Placed]:
        """Return what comes next for a stream before the window, and begin to read what follows a full batch."""
        reading, stream.ahead = stream.ahead or self._begin_reading(stream, stream.position), None
        try:
            batch = await reading.batch
        finally:
            reading.batch.cancel()
        if not batch:
            stream.position = max(stream.position, reading.seen)
        elif len(batch) == reading.most and not self._within(stream.channel, batch[-1].position):
            stream.ahead = self._begin_reading(stream, batch[-1].position)
        return batch

    def _begin_reading(self, stream: _Stream, position: int) -> _Reading:
        most, stream.most = min(stream.most, self._batch), self._batch
        batch = asyncio.create_task(asyncio.to_thread(self._read, position, stream.channel, most))
        # A stream may end before it has looked at what went wrong.
        batch.add_done_callback(lambda done: done.cancelled() or done.exception())
        return _Reading(most, self._last, batch)

    @contextlib.contextmanager
    def _following(self, stream: _Stream, subscription: UUID | None) -> Iterator[None]:
        self._followed[stream.channel] += 1
        if subscription is not None:
            self._streams[subscription] = stream
        try:
            yield
        finally:
            stream.stop_reading()
            self._followed[stream.channel] -= 1
            if not self._followed[stream.channel]:
                del self._followed[stream.channel]
            if subscription is not None:
                del self._streams[subscription]
                self._ended[subscription] = self._sent(stream)

    def _read(self, position: int, channel: str, most: int) -> list[Placed]:
        with self._database.apart() as connection:
            found = places.read_after(connection, position, most, [channel])
            # Asked afterwards: what is forgotten from now on was still there.
            gone = forgotten.of(connection, channel)
        if gone and gone.position > position:
            until = gone.until.isoformat(timespec="seconds")
            raise NotFoundError(f"events that come next were forgotten, up to {until}: subscribe again")
        return found

    async def _wait(self, stream: _Stream, check: Callable[[], None]) -> None:
        def come() -> bool:
            check()
            window = self._windows.get(stream.channel)
            return self._closed or (window is not None and window.last > stream.position)

        async with self._changed:
            await self._changed.wait_for(come)
        if self._closed:
            raise ClosedError
