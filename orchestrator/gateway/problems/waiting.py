"""Requests that wait until something is so: each is a future, and costs neither a thread nor a connection meanwhile.

What an event is about wakes those that wait for it. All that wait for one thing are answered by one look at it.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from starlette.requests import Request

from orchestrator.core.errors import ClosedError, UnavailableError
from orchestrator.gateway.problems.refused import RefusedError

Seen = TypeVar("Seen")

_PAUSE = 1.0


class GoneError(Exception):
    """The client has hung up: there is nobody to answer."""


@dataclass(eq=False)
class _Waiter(Generic[Seen]):
    """One that waits.

    Args:
        take: from what is seen to the answer, None where there is none yet.
        answered: becomes the answer.
        has_seen: whether a look was made for it: from then on it waits through faults of the database.
    """

    take: Callable[[Seen], Any]
    answered: "asyncio.Future[Any]"
    has_seen: bool = False

    def give(self, seen: Seen) -> None:
        self.has_seen = True
        if not self.answered.done() and (found := self.take(seen)) is not None:
            self.answered.set_result(found)

    def fail(self, error: Exception) -> None:
        if not self.answered.done() and not (self.has_seen and _passes(error)):
            self.answered.set_exception(error)


@dataclass
class _Thing(Generic[Seen]):
    """What some wait for.

    Args:
        look: sees how it is now.
        waiters: all of them.
        looking: the look that runs.
        again: whether something has happened since it began.
    """

    look: Callable[[], Awaitable[Seen]]
    waiters: list[_Waiter[Seen]] = field(default_factory=list)
    looking: "asyncio.Task[None] | None" = None
    again: bool = False

    def see(self) -> None:
        """Look, or look once more."""
        if self.looking is not None:
            self.again = True
            return
        self.looking = asyncio.ensure_future(self._see())

    async def _see(self) -> None:
        try:
            self.again = True
            while self.again and self.waiters:
                self.again = False
                # Who joins from here on may know of more than this look sees.
                waiters = [*self.waiters]
                try:
                    seen = await self.look()
                    for waiter in waiters:
                        waiter.give(seen)
                except Exception as error:
                    for waiter in waiters:
                        waiter.fail(error)
                    if _passes(error):
                        self.again = True
                        await asyncio.sleep(_PAUSE)
        finally:
            self.looking = None


class Waiting:
    """All that wait in a server process."""

    def __init__(self) -> None:
        self._things: dict[Hashable, _Thing[Any]] = {}
        self._closed = False

    def __len__(self) -> int:
        return sum(len(thing.waiters) for thing in self._things.values())

    async def wait(
        self,
        request: Request,
        key: Hashable,
        look: Callable[[], Awaitable[Seen]],
        take: Callable[[Seen], Any],
        seconds: float,
    ) -> Any:
        """Return what is taken of what is seen, as soon as that is not None; None when the time is over.

        Args:
            request: whose client may hang up; its body has been read.
            key: of what is waited for: `wake` names it.
            look: sees how it is now.
            take: from what is seen to the answer, None where there is none yet.
            seconds: to wait.

        Raises:
            GoneError: the client has hung up.
            ClosedError: the server stops.
        """
        if self._closed:
            raise ClosedError
        # Before the first look: what happens after it is not missed.
        thing = self._things.setdefault(key, _Thing(look))
        waiter = _Waiter(take, asyncio.get_running_loop().create_future())
        thing.waiters.append(waiter)
        gone = asyncio.ensure_future(_hung_up(request))
        try:
            thing.see()
            await asyncio.wait([waiter.answered, gone], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if waiter.answered.done():
                return waiter.answered.result()
            if gone.done():
                raise GoneError
            return None
        finally:
            gone.cancel()
            waiter.answered.cancel()
            thing.waiters.remove(waiter)
            if not thing.waiters and self._things.get(key) is thing:
                del self._things[key]

    async def until(self, request: Request, asked: "asyncio.Future[Any]") -> None:
        """Wait for something that is asked elsewhere, as long as the client of a request does.

        Raises:
            GoneError: the client has hung up.
        """
        gone = asyncio.ensure_future(_hung_up(request))
        try:
            await asyncio.wait([asked, gone], return_when=asyncio.FIRST_COMPLETED)
            if not asked.done():
                raise GoneError
        finally:
            gone.cancel()

    def wake(self, key: Hashable) -> None:
        """Have what is waited for be looked at again."""
        if thing := self._things.get(key):
            thing.see()

    def wake_all(self) -> None:
        """Have everything be looked at again: what has happened is not known."""
        for thing in self._things.values():
            thing.see()

    def close(self) -> None:
        """Answer all that wait that the server stops."""
        self._closed = True
        for thing in self._things.values():
            for waiter in thing.waiters:
                waiter.has_seen = False
                waiter.fail(ClosedError())


def _passes(error: Exception) -> bool:
    """Say whether an error is one of the moment, as while the database starts again."""
    kind = error.refusal.kind if isinstance(error, RefusedError) else type(error)
    return issubclass(kind, UnavailableError)


async def _hung_up(request: Request) -> None:
    """Return when the client of a request has hung up."""
    with contextlib.suppress(RuntimeError):
        while (await request.receive())["type"] != "http.disconnect":
            pass
