"""A pump that waits is woken, and ended at any moment."""

import asyncio

import pytest

from orchestrator.dispatch.pump import Pump


class Counting:
    """A step that finds nothing to do; the first ones may fail."""

    def __init__(self, failures: int = 0) -> None:
        self.runs = 0
        self.begun = asyncio.Event()
        self._failures = failures

    async def __call__(self) -> int:
        self.runs += 1
        self.begun.set()
        if self.runs <= self._failures:
            raise OSError("the network is bad")
        return 0

    async def again(self) -> None:
        """Wait for the next run."""
        self.begun.clear()
        async with asyncio.timeout(30):
            await self.begun.wait()


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_it_runs_when_it_is_woken() -> None:
    async def scenario() -> None:
        step = Counting()
        pump = Pump("pump", step, 600.0)
        running = asyncio.create_task(pump.run())
        await step.again()
        for _ in range(3):
            pump.wake()
            await step.again()
        assert step.runs == 4
        running.cancel()

    asyncio.run(scenario())


@pytest.mark.parametrize("failures", [0, 1])
def test_it_runs_unasked(failures: int) -> None:
    async def scenario() -> None:
        step = Counting(failures)
        running = asyncio.create_task(Pump("pump", step, 0.01).run())
        for _ in range(3):
            await step.again()
        running.cancel()

    asyncio.run(scenario())


def test_while_it_pauses_it_gathers_what_it_is_woken_for() -> None:
    async def scenario() -> None:
        step, pauses = Counting(), iter([0.0, 0.05, 0.0])
        pump = Pump("pump", step, 600.0, lambda _: next(pauses))
        running = asyncio.create_task(pump.run())
        await step.again()
        pump.wake()
        await step.again()
        assert step.runs == 2, "who comes to rest is woken at once"
        for _ in range(10):
            pump.wake()
            await turns(3)
        assert step.runs == 2
        await step.again()
        await turns(10)
        assert step.runs == 3
        running.cancel()

    asyncio.run(scenario())


def test_what_decides_on_a_pause_is_told_whether_it_was_woken_meanwhile() -> None:
    async def scenario() -> None:
        told, writes = [], iter([True, False])

        async def step() -> bool:
            if next(writes, False):
                pump.wake()
            return False

        def pause(woken: bool) -> float:
            told.append(woken)
            return 0.0

        pump = Pump("pump", step, 600.0, pause)
        running = asyncio.create_task(pump.run())
        await turns(10)
        assert told == [True, False]
        running.cancel()

    asyncio.run(scenario())


@pytest.mark.parametrize("between", range(6))
def test_it_ends_although_it_is_woken_at_the_same_time(between: int) -> None:
    async def scenario() -> None:
        step = Counting()
        pump = Pump("pump", step, 600.0)
        running = asyncio.create_task(pump.run())
        await step.again()
        await turns(10)
        pump.wake()
        await turns(between)
        running.cancel()
        await turns(20)
        assert running.done()

    asyncio.run(scenario())
