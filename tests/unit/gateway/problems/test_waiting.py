"""Who waits is woken, answered by one look with all others, and forgotten when it hangs up."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.requests import Request

from orchestrator.core.errors import ClosedError, NotFoundError, UnavailableError
from orchestrator.gateway.problems.waiting import GoneError, Waiting


class Client:
    """A client of a request whose body was read."""

    def __init__(self) -> None:
        self._gone = asyncio.Event()
        self.request = Request({"type": "http", "headers": []}, self._receive)

    async def _receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    def hang_up(self) -> None:
        self._gone.set()


class Thing:
    """Something that changes, and counts how often it is looked at."""

    def __init__(self) -> None:
        self.value: Any = None
        self.looks = 0

    async def look(self) -> Any:
        self.looks += 1
        await asyncio.sleep(0)
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(limited())


def wait(waiting: Waiting, thing: Thing, client: Client | None = None, seconds: float = 10) -> "asyncio.Task[Any]":
    request = (client or Client()).request
    return asyncio.ensure_future(waiting.wait(request, "key", thing.look, lambda seen: seen, seconds))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


def test_a_thousand_that_wait_for_one_thing_are_answered_by_one_look_or_two():
    async def test() -> None:
        waiting, thing = Waiting(), Thing()
        tasks = [wait(waiting, thing) for _ in range(1000)]
        await until(lambda: len(waiting) == 1000 and thing.looks > 0)
        await asyncio.sleep(0.01)
        before, thing.value = thing.looks, "there"
        waiting.wake("other")
        waiting.wake("key")
        assert set(await asyncio.gather(*tasks)) == {"there"}
        assert thing.looks - before == 1
        assert len(waiting) == 0

    run(test)


def test_who_hangs_up_is_forgotten_and_the_others_go_on():
    async def test() -> None:
        waiting, thing = Waiting(), Thing()
        clients = [Client() for _ in range(10)]
        tasks = [wait(waiting, thing, client) for client in clients]
        await until(lambda: len(waiting) == 10)
        for client in clients[:5]:
            client.hang_up()
        await until(lambda: len(waiting) == 5)
        thing.value = "there"
        waiting.wake("key")
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in found[:5]] == [GoneError] * 5
        assert found[5:] == ["there"] * 5

    run(test)


def test_when_the_time_is_over_there_is_nothing():
    async def test() -> None:
        waiting, thing = Waiting(), Thing()
        assert await wait(waiting, thing, seconds=0.01) is None
        assert len(waiting) == 0

    run(test)


def test_what_happens_while_it_looks_is_not_missed():
    async def test() -> None:
        waiting, thing = Waiting(), Thing()
        task = wait(waiting, thing)
        await until(lambda: thing.looks == 1)
        # The look has seen nothing yet, and does not know what is written now.
        thing.value, waiting_value = None, "there"
        waiting.wake("key")
        thing.value = waiting_value
        assert await task == "there"

    run(test)


def test_a_fault_is_told_once_to_who_has_come_now_and_waited_out_by_who_has_seen_before():
    async def test() -> None:
        waiting, thing = Waiting(), Thing()
        first = wait(waiting, thing)
        await until(lambda: thing.looks == 1)
        await asyncio.sleep(0.01)
        thing.value = UnavailableError("the database starts again")
        second = wait(waiting, thing)
        with pytest.raises(UnavailableError):
            await second
        thing.value = "there"
        assert await first == "there"

    run(test)


def test_what_does_not_exist_is_told():
    async def test() -> None:
        waiting, thing = Waiting(), Thing()
        thing.value = NotFoundError("no task")
        with pytest.raises(NotFoundError):
            await wait(waiting, thing)

    run(test)


def test_a_server_that_stops_says_so():
    async def test() -> None:
        waiting, thing = Waiting(), Thing()
        task = wait(waiting, thing)
        await until(lambda: thing.looks == 1)
        waiting.close()
        with pytest.raises(ClosedError):
            await task
        with pytest.raises(ClosedError):
            await wait(waiting, thing)

    run(test)
