"""How calls share what there is: a limit of those in hand, and turns that go round the organizations.

All of it lives in one event loop: nothing here is for threads.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import Enum
from typing import TypeAlias

from orchestrator.core.errors import BusyError


class Lane(Enum):
    """Kinds of calls that never wait for each other."""

    CALL = "call"
    """What people and their programs ask for."""
    WORKER = "worker"
    """What workers report, by which leases are kept: small, and late ones cost a training."""


class InHand:
    """Counts what is in hand, and refuses more than a limit.

    When the limit of all is reached, an organization below its equal share of it is let in all the same: one that is
    modest does not pay for those that are not. So there may be twice as many in hand as the limit of all, at worst.

    Args:
        what: is counted, in the plural, for people.
        of_one: most of one organization.
        of_all: most in all.
    """

    def __init__(self, what: str, of_one: int, of_all: int) -> None:
        self._what = what
        self._of_one = of_one
        self._of_all = of_all
        self._counts: Counter[str] = Counter()

    @contextmanager
    def one(self, organization: str) -> Iterator[None]:
        """Count one of an organization as long as the block lasts.

        Raises:
            BusyError: there are too many.
        """
        counts = self._counts
        if counts[organization] >= self._of_one:
            raise BusyError(f"{organization} has {counts[organization]} {self._what} in hand, and no more are taken")
        if counts.total() >= self._of_all and counts[organization] >= self._of_all // len(counts):
            raise BusyError(
                f"the server has {counts.total()} {self._what} in hand, {counts[organization]} of {organization}"
            )
        counts[organization] += 1
        try:
            yield
        finally:
            counts[organization] -= 1
            if not counts[organization]:
                del counts[organization]


_Key: TypeAlias = tuple[Lane, str]


class Turns:
    """Places that calls take one after another: the next is of the organization that holds the fewest.

    Of those that hold equally many, it is the one whose last turn was longest ago; so an organization that holds none
    waits for one turn of each other at most. A quarter of the places is left to the other lane, and as many to the
    other organizations of the lane, whatever one of them asks for.

    Args:
        places: how many there are.
    """

    def __init__(self, places: int) -> None:
        spare = max(1, places // 4)
        self._places = places
        self._of_lane = max(1, places - spare)
        self._of_one = max(1, places - 2 * spare)
        self._held: Counter[_Key] = Counter()
        self._of_lanes: Counter[Lane] = Counter()
        # In the order of their last turns.
        self._waiting: dict[_Key, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, organization: str, lane: Lane = Lane.CALL) -> AsyncIterator[None]:
        """Wait for a place, and hold it as long as the block lasts."""
        key = (lane, organization)
        # Most calls come when there is room.
        if not self._waiting and self._fits(key):
            self._take(key)
            try:
                yield
            finally:
                self._give_back(key)
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(granted)
        self._grant()
        try:
            await granted
            yield
        finally:
            # Who is cancelled may have been granted a place that it never saw.
            if granted.done() and not granted.cancelled():
                self._give_back(key)
            else:
                self._leave(key, granted)

    def _fits(self, key: _Key) -> bool:
        lane, _ = key
        return (
            self._of_lanes.total() < self._places
            and self._of_lanes[lane] < self._of_lane
            and self._held[key] < self._of_one
        )

    def _take(self, key: _Key) -> None:
        self._held[key] += 1
        self._of_lanes[key[0]] += 1

    def _give_back(self, key: _Key) -> None:
        self._of_lanes[key[0]] -= 1
        self._held[key] -= 1
        if not self._held[key]:
            del self._held[key]
        if self._waiting:
            self._grant()

    def _leave(self, key: _Key, granted: "asyncio.Future[None]") -> None:
        waiting = self._waiting.get(key)
        if waiting is not None and granted in waiting:
            waiting.remove(granted)
            if not waiting:
                del self._waiting[key]

    def _grant(self) -> None:
        while (key := self._next()) is not None:
            waiting = self._waiting.pop(key)
            granted = waiting.popleft()
            if waiting:
                self._waiting[key] = waiting
            if not granted.done():
                self._take(key)
                granted.set_result(None)

    def _next(self) -> _Key | None:
        return min(filter(self._fits, self._waiting), key=self._held.__getitem__, default=None)
