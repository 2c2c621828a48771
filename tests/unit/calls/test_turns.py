"""How calls share a server: nobody waits for two turns of another, and nobody takes what is left to others."""

import asyncio
from collections import Counter
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.calls.turns import InHand, Lane, Turns
from orchestrator.core.errors import BusyError

GREEDY, MODEST = "greedy", "modest"


class Room:
    """Calls that take turns, hold them until told, and note who got them in which order."""

    def __init__(self, places: int) -> None:
        self.turns = Turns(places)
        self.order: list[tuple[Lane, str]] = []
        self.running: Counter[tuple[Lane, str]] = Counter()
        self._holders: dict[asyncio.Task[None], asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def ask(self, organization: str, lane: Lane = Lane.CALL) -> asyncio.Task[None]:
        task = asyncio.create_task(self._hold(organization, lane))
        self._tasks.append(task)
        await self.settle()
        return task

    async def _hold(self, organization: str, lane: Lane) -> None:
        async with self.turns.turn(organization, lane):
            self.order.append((lane, organization))
            self.running[lane, organization] += 1
            ended = asyncio.Event()
            task = asyncio.current_task()
            assert task is not None
            self._holders[task] = ended
            try:
                await ended.wait()
            finally:
                self.running[lane, organization] -= 1
                del self._holders[task]

    async def end_one(self) -> None:
        next(iter(self._holders.values())).set()
        await self.settle()

    async def settle(self) -> None:
        for _ in range(4):
            await asyncio.sleep(0)

    async def finish(self) -> None:
        while self._holders:
            await self.end_one()
        await asyncio.gather(*self._tasks, return_exceptions=True)


asked = st.lists(st.tuples(st.sampled_from(Lane), st.sampled_from("abcd")), max_size=60)


@given(places=st.integers(1, 20), before=asked, after=asked)
def test_who_holds_no_place_waits_for_one_turn_of_each_other_at_most(places, before, after):
    async def run() -> None:
        room = Room(places)
        for lane, organization in before:
            await room.ask(organization, lane)
        seen = len(room.order)
        await room.ask(MODEST)
        for lane, organization in after:
            await room.ask(organization, lane)
        await room.finish()
        turn = room.order.index((Lane.CALL, MODEST))
        # Those of its own lane; the other lane has places of its own.
        others = Counter(key for key in room.order[seen:turn] if key[0] is Lane.CALL)
        assert all(count <= 1 for count in others.values()), others
        assert len(room.order) == len(before) + len(after) + 1

    asyncio.run(run())


@given(places=st.integers(3, 20), calls=asked)
def test_no_organization_and_no_lane_takes_all_places(places, calls):
    async def run() -> None:
        room = Room(places)
        for lane, organization in calls:
            await room.ask(organization, lane)
            assert room.running.total() <= places
            for one in Lane:
                assert sum(count for key, count in room.running.items() if key[0] is one) < places
        await room.finish()

    asyncio.run(run())


def test_a_worker_is_served_at_once_whatever_its_organization_asks_for():
    async def run() -> None:
        room = Room(4)
        for _ in range(100):
            await room.ask(GREEDY)
        await room.ask(GREEDY, Lane.WORKER)
        assert room.running[Lane.WORKER, GREEDY] == 1
        await room.ask(MODEST)
        assert room.running[Lane.CALL, MODEST] == 1
        await room.finish()

    asyncio.run(run())


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["ask", "end", "leave"])), max_size=60))
def test_who_gives_up_leaves_its_place_to_others(steps):
    async def run() -> None:
        room, tasks = Room(2), []
        for organization, step in steps:
            if step == "ask":
                tasks.append(await room.ask(organization))
            elif step == "end" and room.running.total():
                await room.end_one()
            elif step == "leave" and tasks:
                # Not settled in between: a place may be granted in the same moment.
                tasks.pop(0).cancel()
        await room.settle()
        await room.finish()
        await room.ask("c")
        assert room.running[Lane.CALL, "c"] == 1
        await room.finish()

    asyncio.run(run())


def test_more_than_its_limit_is_refused_with_a_pause():
    hand = InHand("calls", of_one=2, of_all=100)
    with hand.one(GREEDY), hand.one(GREEDY):
        with pytest.raises(BusyError, match=r"^OE0201: greedy has 2 calls in hand") as caught, hand.one(GREEDY):
            pass
        assert 0.5 <= caught.value.pause <= 1.5
        with hand.one(MODEST):
            pass
    with hand.one(GREEDY), hand.one(GREEDY):
        pass


def test_a_full_server_lets_in_who_has_less_than_its_share():
    hand = InHand("calls", of_one=100, of_all=10)
    with ExitStack() as held:
        for _ in range(10):
            held.enter_context(hand.one(GREEDY))
        with pytest.raises(BusyError), hand.one(GREEDY):
            pass
        for _ in range(5):
            held.enter_context(hand.one(MODEST))
        with pytest.raises(BusyError), hand.one(MODEST):
            pass


@given(st.integers(1, 40), st.lists(st.sampled_from("abcdefgh"), max_size=200))
def test_never_is_more_than_twice_the_limit_in_hand(most, organizations):
    hand = InHand("calls", of_one=1000, of_all=most)
    with ExitStack() as held:
        count = 0
        for organization in organizations:
            try:
                held.enter_context(hand.one(organization))
            except BusyError:
                continue
            count += 1
        assert count <= 2 * most
