"""Threads that calls work in: what a function returns and raises, and that who is cancelled waits for its end."""

import asyncio
import gc
import threading
import weakref
from contextvars import ContextVar

import pytest

from orchestrator.calls.threads import Threads

SECONDS = 60
told: ContextVar[str] = ContextVar("told")


class Request:
    """What a call holds."""


def test_each_function_is_answered_for_itself_and_knows_the_context_of_its_call():
    def answer(number: int) -> str:
        if number % 3 == 0:
            raise ValueError(number)
        return f"{told.get()}: {number}"

    async def call(threads: Threads, number: int) -> str:
        told.set(f"call {number}")
        return await threads.run(lambda: answer(number))

    async def scenario() -> None:
        with Threads(4, "call") as threads:
            calls = (asyncio.create_task(call(threads, number)) for number in range(100))
            answers = await asyncio.gather(*calls, return_exceptions=True)
        for number, answered in enumerate(answers):
            if number % 3 == 0:
                assert isinstance(answered, ValueError)
                assert answered.args == (number,)
            else:
                assert answered == f"call {number}: {number}"

    asyncio.run(scenario())


def test_who_is_cancelled_waits_until_its_thread_has_ended():
    begun, may_end = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert may_end.wait(SECONDS)

    async def scenario() -> None:
        with Threads(1, "call") as threads:
            working = asyncio.create_task(threads.run(work))
            # Cancelled before a thread has taken it up: it is done all the same.
            waiting = asyncio.create_task(threads.run(begun.is_set))
            await asyncio.to_thread(begun.wait, SECONDS)
            working.cancel()
            waiting.cancel()
            for _ in range(4):
                await asyncio.sleep(0)
            assert not working.done()
            assert not waiting.done()
            may_end.set()
            for task in (working, waiting):
                with pytest.raises(asyncio.CancelledError):
                    await task

    asyncio.run(scenario())


@pytest.mark.parametrize("fails", [False, True])
def test_neither_its_thread_nor_its_error_keeps_the_request_of_a_call_that_ended(fails: bool):
    def work(_: Request) -> None:
        if fails:
            raise ValueError("no")

    async def call(threads: Threads) -> "weakref.ref[Request]":
        request = Request()
        try:
            await threads.run(lambda: work(request))
        except ValueError:
            assert fails
        return weakref.ref(request)

    async def scenario() -> None:
        with Threads(1, "call") as threads:
            assert (await call(threads))() is None

    gc.disable()
    try:
        asyncio.run(scenario())
    finally:
        gc.enable()


def test_the_block_waits_for_what_was_given():
    ended = []

    async def scenario() -> None:
        begun = threading.Event()
        with Threads(2, "call") as threads:
            task = asyncio.create_task(
                threads.run(lambda: (begun.set(), ended.append(threading.current_thread().name)))
            )
            await asyncio.to_thread(begun.wait, SECONDS)
        assert ended
        await task

    asyncio.run(scenario())
    assert ended[0].startswith("call_")
