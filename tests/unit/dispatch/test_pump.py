"""A pump that waits is woken, and ended at any moment."""

import asyncio
from itertools import pairwise

import pytest

from orchestrator.dispatch import pump as pump_module
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


class Away:
    """A step that fails; after its first run, pauses that are over early last for a moment only."""

    REST = 0.02

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runs: list[float] = []
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(pump_module, "_FIRST_PAUSE", 300.0)

    async def __call__(self) -> bool:
        self._monkeypatch.setattr(pump_module, "_FIRST_PAUSE", self.REST)
        self.runs.append(asyncio.get_running_loop().time())
        raise OSError("the database is away")

    async def woken_until(self, pump: Pump, count: int) -> None:
        """Wake it again and again, until so many runs have begun."""
        while len(self.runs) < count:
            pump.wake()
            await asyncio.sleep(0)


def test_a_pause_after_a_fault_is_over_early_when_it_is_woken_but_not_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        step = Away(monkeypatch)
        pump = Pump("pump", step, 600.0)
        running = asyncio.create_task(pump.run())
        async with asyncio.timeout(60):
            await step.woken_until(pump, 4)
        assert all(after - before >= Away.REST for before, after in pairwise(step.runs))
        running.cancel()

    asyncio.run(scenario())


def test_a_pause_after_a_fault_of_something_else_lasts_though_it_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        step = Away(monkeypatch)
        pump = Pump("pump", step, 600.0, lasting=(OSError,))
        running = asyncio.create_task(pump.run())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(10 * Away.REST):
                await step.woken_until(pump, 2)
        assert len(step.runs) == 1
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
