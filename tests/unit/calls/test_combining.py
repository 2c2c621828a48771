"""Calls that wait go together, in fair turns, and none waits for what another waits for."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from typing import Any

import pytest

from orchestrator.calls.combining import PATIENCE, Combiner


def looped(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a test in an event loop."""

    @wraps(test)
    def run() -> None:
        asyncio.run(test())

    return run


class Work:
    """Calls that are noted, and end when they are told to."""

    def __init__(self, patience: float = 60.0) -> None:
        self.combiner = Combiner[str, str](self.together, patience)
        self.alone: list[str] = []
        self.batches: list[list[str]] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.left: set[str] = set()
        self.wrong: set[str] = set()
        self.broken: Exception | None = None

    async def together(self, jobs: Sequence[str]) -> Sequence[str | Exception | None]:
        self.batches.append(list(jobs))
        await self.passed("together")
        if self.broken:
            raise self.broken
        return [
            ValueError(job) if job in self.wrong else None if job in self.left else f"{job} together" for job in jobs
        ]

    async def passed(self, name: str) -> None:
        if name in self.gates:
            await self.gates[name].wait()

    def hold(self, *names: str) -> None:
        self.gates |= {name: asyncio.Event() for name in names}

    def ask(self, job: str, organization: str = "org-1") -> "asyncio.Task[str]":
        async def alone() -> str:
            self.alone.append(job)
            await self.passed(job)
            return f"{job} alone"

        return asyncio.create_task(self.combiner.run(organization, job, alone))

    async def begun(self, *jobs: str, organization: str = "org-1") -> "list[asyncio.Task[str]]":
        asked = [self.ask(job, organization) for job in jobs]
        for _ in range(5):
            await asyncio.sleep(0)
        return asked


@looped
async def test_a_lone_call_goes_by_itself():
    work = Work()
    assert [await work.ask(job) for job in "ab"] == ["a alone", "b alone"]
    assert work.batches == []


@looped
async def test_those_that_wait_go_together():
    work = Work()
    work.hold("a")
    first = await work.begun("a")
    others = await work.begun("b", "c", "d")
    assert (work.alone, work.batches) == (["a"], [])
    work.gates["a"].set()
    assert await asyncio.gather(*first, *others) == ["a alone", "b together", "c together", "d together"]
    assert work.batches == [["b", "c", "d"]]


@looped
async def test_one_that_waits_alone_goes_by_itself():
    work = Work()
    work.hold("a", "b")
    calls = [*await work.begun("a"), *await work.begun("b")]
    work.gates["a"].set()
    await calls[0]
    calls += await work.begun("c", "d")
    assert (work.alone, work.batches) == (["a", "b"], [])
    work.gates["b"].set()
    assert await asyncio.gather(*calls[1:]) == ["b alone", "c together", "d together"]


@looped
async def test_a_call_that_lasts_holds_up_nobody():
    work = Work(PATIENCE)
    work.hold("a")
    (slow,) = await work.begun("a")
    others = await work.begun("b", "c")
    async with asyncio.timeout(60):
        assert await asyncio.gather(*others) == ["b together", "c together"]
    assert not slow.done()
    # It has been waited for once.
    assert await work.ask("d") == "d alone"
    work.gates["a"].set()
    assert await slow == "a alone"
    assert await work.ask("e") == "e alone"


@looped
async def test_what_cannot_be_done_together_goes_by_itself_and_what_is_refused_spoils_no_other():
    work = Work()
    work.hold("a")
    work.left, work.wrong = {"b"}, {"c"}
    calls = await work.begun("a", "b", "c", "d")
    work.gates["a"].set()
    assert await asyncio.gather(calls[1], calls[3]) == ["b alone", "d together"]
    with pytest.raises(ValueError, match=r"^c$"):
        await calls[2]


@looped
async def test_what_goes_wrong_with_all_is_told_to_all():
    work = Work()
    work.hold("a")
    work.broken = ConnectionError()
    calls = await work.begun("a", "b", "c")
    work.gates["a"].set()
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(each) for each in found] == [str, ConnectionError, ConnectionError]
    assert await work.ask("d") == "d alone"


@looped
async def test_no_organization_keeps_another_from_its_turn():
    work = Work()
    work.hold("a", "together")
    many = [f"many-{number}" for number in range(200)]
    calls = await work.begun("a", *many)
    calls += await work.begun("few", "and", organization="org-2")
    work.gates["a"].set()
    work.gates["together"].set()
    await asyncio.gather(*calls)
    assert work.batches[0][:4] == ["many-0", "few", "many-1", "and"]
    assert [len(batch) for batch in work.batches] == [64, 64, 64, 10]
    assert [job for batch in work.batches for job in batch if job in many] == many


@looped
async def test_a_caller_that_leaves_is_not_waited_for():
    work = Work()
    work.hold("a")
    first, gone, other, last = await work.begun("a", "b", "c", "d")
    gone.cancel()
    work.gates["a"].set()
    assert await asyncio.gather(first, other, last) == ["a alone", "c together", "d together"]
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert work.batches == [["c", "d"]]


@looped
async def test_a_caller_that_leaves_is_in_hand_until_what_is_under_way_ends():
    work = Work()
    work.hold("a", "together")
    first, gone, other = await work.begun("a", "b", "c")
    work.gates["a"].set()
    await first
    await work.begun()
    gone.cancel()
    await work.begun()
    assert not gone.done()
    work.gates["together"].set()
    assert await other == "c together"
    with pytest.raises(asyncio.CancelledError):
        await gone


@looped
async def test_a_caller_that_leaves_when_its_turn_has_come_gives_it_back():
    work = Work()
    work.hold("a")
    first, gone = await work.begun("a", "b")
    work.gates["a"].set()
    # It ends, and the other is told, but has not gone on.
    while not first.done():
        await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    work.hold("c")
    calls = await work.begun("c", "d", "e")
    work.gates["c"].set()
    assert await asyncio.gather(*calls) == ["c alone", "d together", "e together"]
