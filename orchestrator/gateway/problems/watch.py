"""The events of problems as they get their places: whoever waits is woken by them, and streams follow them."""

import asyncio
import contextlib
import time
from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from orchestrator import protos as pb
from orchestrator.core import kinds
from orchestrator.core.errors import ClosedError, NotFoundError
from orchestrator.engine.transaction import Database
from orchestrator.gateway.problems import results
from orchestrator.gateway.problems.waiting import Waiting
from orchestrator.problems import graph, told
from orchestrator.trace import forgotten, places
from orchestrator.trace.places import Own

BEAT_SECONDS = 15.0
"""How long a stream may say nothing."""

_KEPT = 4096
_READ = 500
_UNFOLLOWED_SECONDS = 1.0
"""How far behind it may be while nobody follows or waits."""


@dataclass(frozen=True)
class Told:
    """An event.

    Args:
        position: in the order of readers.
        at: when it was written.
        kind: its number.
        message: what it says.
    """

    position: int
    at: datetime
    kind: int
    message: Any


class Watch:
    """Follows the events of a deployment.

    Args:
        database: where they are.
        channel: of the deployment.
        deployment: its name.
        waiting: who waits for what they tell.

    Attributes:
        wake: has the next step be made at once.
    """

    def __init__(self, database: Database, channel: str, deployment: str, waiting: Waiting) -> None:
        self._database = database
        self._channel = channel
        self._deployment = deployment
        self._waiting = waiting
        self._floor = self._last = 0
        self._events: list[Told] = []
        self._changed = asyncio.Condition()
        self._closed = False
        self._streams = 0
        self._looked = 0.0
        self.wake: Callable[[], None] = lambda: None

    @property
    def is_followed(self) -> bool:
        """Whether anybody follows the events here, or waits for what they tell."""
        return bool(self._streams or len(self._waiting))

    def open(self) -> None:
        """Begin at the newest event; call once, before the first step."""
        with self._database.begin() as connection:
            self._floor = self._last = places.last_position(connection)

    async def step(self) -> bool:
        """Pass on the events that have come, now and then if nobody follows; return whether there may be more."""
        if not self.is_followed and time.monotonic() < self._looked + _UNFOLLOWED_SECONDS:
            return False
        self._looked = time.monotonic()
        last, rows = await asyncio.to_thread(self._look)
        fresh = self._told(rows)
        for each in fresh:
            for key in woken(each):
                self._waiting.wake(key)
        async with self._changed:
            self._events += fresh
            self._last = rows[-1].position if len(rows) == _READ else last
            if len(self._events) > _KEPT:
                self._floor = self._events[_KEPT // 2 - 1].position
                del self._events[: _KEPT // 2]
            self._changed.notify_all()
        return len(rows) == _READ

    def _look(self) -> tuple[int, Sequence[Own]]:
        with self._database.apart() as connection:
            last = places.last_position(connection)
            if last == self._last:
                return last, ()
            return last, places.read_own_after(connection, self._channel, [*told.TYPES], self._last, last, _READ)

    def _told(self, rows: Sequence[Own]) -> list[Told]:
        read = [
            Told(row.position, row.created_at, row.kind, told.TYPES[row.kind].FromString(row.message)) for row in rows
        ]
        return [each for each in read if each.message.deployment == self._deployment]

    async def close(self) -> None:
        """End all streams."""
        self._closed = True
        self._waiting.close()
        async with self._changed:
            self._changed.notify_all()

    async def begin(self, position: int | None) -> int:
        """Return the position after which a stream begins.

        Args:
            position: of the last event that it had; 0 for the beginning of what is kept, None for now.

        Raises:
            NotFoundError: events after it were forgotten, or there is none yet at it.
        """
        return await asyncio.to_thread(self._begin, position)

    def _begin(self, position: int | None) -> int:
        with self._database.begin() as connection:
            last = places.last_position(connection)
            if position is None:
                return last
            gone = forgotten.of(connection, self._channel)
            if gone is not None and gone.position > position:
                if not position:
                    return gone.position
                until = gone.until.isoformat(timespec="seconds")
                raise NotFoundError(
                    f"events that come next were forgotten, up to {until}: begin anew, from 0 or from now"
                )
            if position > last:
                raise NotFoundError(
                    f"there is no event {position} yet, the newest is {last}: begin anew, from 0 or now"
                )
            return position

    async def follow(self, position: int) -> AsyncGenerator[Sequence[Told], None]:
        """Yield the events after a position, those to come included; nothing now and then, where none comes.

        Raises:
            ClosedError: the server stops.
        """
        self._streams += 1
        self.wake()
        try:
            async for batch in self._follow(position):
                yield batch
        finally:
            self._streams -= 1

    async def _follow(self, position: int) -> AsyncGenerator[Sequence[Told], None]:
        while True:
            if self._closed:
                raise ClosedError
            seen = self._last
            if position >= self._floor:
                first = bisect_right(self._events, position, key=lambda each: each.position)
                batch: Sequence[Told] = self._events[first : first + _READ]
                position = batch[-1].position if batch else max(position, seen)
            else:
                rows = await asyncio.to_thread(self._read, position, seen)
                batch = self._told(rows)
                position = rows[-1].position if len(rows) == _READ else max(position, seen)
            if batch:
                yield batch
            elif self._last == seen and position >= self._floor:
                yield await self._next(seen)

    async def _next(self, seen: int) -> Sequence[Told]:
        """Wait for something new, and return nothing."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BEAT_SECONDS), self._changed:
                await self._changed.wait_for(lambda: self._last != seen or self._closed)
        return ()

    def _read(self, position: int, last: int) -> Sequence[Own]:
        with self._database.begin() as connection:
            return places.read_own_after(connection, self._channel, [*told.TYPES], position, last, _READ)


def woken(event: Told) -> list[Any]:
    """Return the keys of what an event may be waited for."""
    said = event.message
    if event.kind == kinds.STAGE_STATUS and said.state in results.ENDED:
        return [result_key(said.task_id, node) for node in (said.kind, graph.ALL)]
    if event.kind == kinds.ITERATION_STATUS and (said.deleted or said.state in results.ENDED):
        return [result_key(said.task_id, node) for node in (*range(6), graph.ALL)]
    if event.kind == kinds.MODULE_COMMAND:
        return [command_key(said.command_id)]
    if event.kind == kinds.CONFIGURATION:
        return [configuration_key(said.transaction_id)]
    return []


def result_key(task: pb.TaskId, node: int) -> tuple[str, int, int, int]:
    """Return the key of a stage's result, or of all of a task."""
    return "result", task.problem_id, task.iteration_id, node


def command_key(command: str) -> tuple[str, str]:
    """Return the key of what becomes of a command."""
    return "command", command


def configuration_key(transaction: int) -> tuple[str, int]:
    """Return the key of the answer to a configuration request."""
    return "configuration", transaction
