"""How calls share what there is: a limit of those in hand, and turns that go round the organizations.

All of it lives in one event loop: nothing here is for threads.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from enum import StrEnum
from typing import Any, TypeAlias

from orchestrator.calls import metrics
from orchestrator.core.errors import BusyError


class Lane(StrEnum):
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
        self._counts: dict[str, int] = {}
        self._total = 0

    def one(self, organization: str) -> AbstractContextManager[None]:
        """Count one of an organization as long as the block lasts.

        Raises:
            BusyError: there are too many.
        """
        return _InHand(self, organization)

    def take(self, organization: str) -> None:
        """Count one of an organization until it is given back.

        Raises:
            BusyError: there are too many.
        """
        counts = self._counts
        count = counts.get(organization, 0)
        if count >= self._of_one:
            self._refuse(organization, f"{organization} has {count} {self._what} in hand, and no more are taken")
        if self._total >= self._of_all and count >= self._of_all // len(counts):
            self._refuse(organization, f"the server has {self._total} {self._what} in hand, {count} of {organization}")
        counts[organization] = count + 1
        self._total += 1

    def give_back(self, organization: str) -> None:
        """Count it no more."""
        self._total -= 1
        if self._counts[organization] > 1:
            self._counts[organization] -= 1
        else:
            del self._counts[organization]

    def _refuse(self, organization: str, reason: str) -> None:
        metrics.refused(organization)
        raise BusyError(reason)


class _InHand(AbstractContextManager[None]):
    __slots__ = ("_hand", "_organization")

    def __init__(self, hand: InHand, organization: str) -> None:
        self._hand = hand
        self._organization = organization

    def __enter__(self) -> None:
        self._hand.take(self._organization)

    def __exit__(self, *_: object) -> None:
        self._hand.give_back(self._organization)


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
        self._taken = 0
        self._of_lanes = dict.fromkeys(Lane, 0)
        self._held: dict[_Key, int] = {}
        # In the order of their last turns.
        self._waiting: dict[_Key, deque[asyncio.Future[None]]] = {}

    def turn(self, organization: str, lane: Lane = Lane.CALL) -> AbstractAsyncContextManager[None]:
        """Wait for a place, and hold it as long as the block lasts."""
        return _Turn(self, (lane, organization))

    async def take(self, key: _Key) -> None:
        """Wait for a place, and hold it until it is given back."""
        # Most calls come when there is room.
        if not self._waiting and self._fits(key):
            self._take(key)
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(granted)
        self._grant()
        try:
            await granted
        except BaseException:
            # Who is cancelled may have been granted a place that it never saw.
            if granted.done() and not granted.cancelled():
                self.give_back(key)
            else:
                self._leave(key, granted)
            raise

    def give_back(self, key: _Key) -> None:
        """Let the next have a place that was taken."""
        self._taken -= 1
        self._of_lanes[key[0]] -= 1
        if self._held[key] > 1:
            self._held[key] -= 1
        else:
            del self._held[key]
        if self._waiting:
            self._grant()

    def _fits(self, key: _Key) -> bool:
        return (
            self._taken < self._places
            and self._of_lanes[key[0]] < self._of_lane
            and self._held.get(key, 0) < self._of_one
        )

    def _take(self, key: _Key) -> None:
        self._taken += 1
        self._of_lanes[key[0]] += 1
        self._held[key] = self._held.get(key, 0) + 1

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
        return min(filter(self._fits, self._waiting), key=lambda key: self._held.get(key, 0), default=None)


class _Turn(AbstractAsyncContextManager[None]):
    __slots__ = ("_key", "_turns")

    def __init__(self, turns: Turns, key: _Key) -> None:
        self._turns = turns
        self._key = key

    def __aenter__(self) -> Coroutine[Any, Any, None]:
        return self._turns.take(self._key)

    async def __aexit__(self, *_: object) -> None:
        self._turns.give_back(self._key)
