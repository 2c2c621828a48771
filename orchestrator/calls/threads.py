"""Threads that calls work in, for one event loop.

An executor's futures cost more than a small call: each has a lock and a condition, is chained to another of asyncio's,
and wakes the loop for itself. Here answers that are ready together wake it once.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

Result = TypeVar("Result")


class _Work:
    """What a thread is to do, and what came of it."""

    __slots__ = ("context", "ended", "error", "function", "result", "waiter")

    def __init__(self, function: Callable[[], Any], waiter: "asyncio.Future[None]") -> None:
        self.function = function
        self.context: Context = copy_context()
        self.waiter = waiter
        self.ended = False
        self.result: Any = None
        self.error: BaseException | None = None

    def do(self) -> None:
        """Do it."""
        try:
            self.result = self.context.run(self.function)
        except BaseException as error:
            self.error = error


class Threads:
    """Runs functions in threads, in the order in which they are given; the block waits for all that were given.

    There are as many threads as were busy at once: one that has just run is quicker than one that has long been idle.

    Args:
        most: threads.
        name: of each, before its number.
    """

    def __init__(self, most: int, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._given: SimpleQueue[_Work | None] = SimpleQueue()
        self._ended: deque[_Work] = deque()
        self._waking = False
        self._most = most
        self._name = name
        self._threads: list[threading.Thread] = []
        self._in_hand = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _ in self._threads:
            self._given.put(None)
        for thread in self._threads:
            thread.join()

    async def run(self, function: Callable[[], Result]) -> Result:
        """Run a function in a thread, in the context of this task; who is cancelled waits for its end all the same."""
        work = _Work(function, self._loop.create_future())
        self._in_hand += 1
        if self._in_hand > len(self._threads) < self._most:
            self._start()
        self._given.put(work)
        try:
            await work.waiter
            if work.error is not None:
                raise work.error
            result: Result = work.result
            return result
        finally:
            # The caller may be gone: a thread cannot be told, and holds its place to its end.
            if not work.ended:
                work.waiter = self._loop.create_future()
                await work.waiter
            # It knows the frames that know it: together they would keep the request until they are collected.
            work.error = None

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name=f"{self._name}_{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _work(self) -> None:
        while (work := self._given.get()) is not None:
            work.do()
            self._ended.append(work)
            # Else who waits here for more keeps a request.
            del work
            if not self._waking:
                self._waking = True
                self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        # First: what ends from now on wakes the loop again.
        self._waking = False
        while self._ended:
            work = self._ended.popleft()
            work.ended = True
            self._in_hand -= 1
            if not work.waiter.done():
                work.waiter.set_result(None)
