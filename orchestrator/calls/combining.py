"""Small calls that wait in this process, and go together: one thread, one transaction and one wake-up for all of them.

A call that finds none under way goes by itself, as ever. Those that come meanwhile wait, and go together when it is
over, or after a moment where it takes longer: so nobody waits for what another call waits for. Whatever cannot be done
together is done by itself after that.

All of it lives in one event loop: nothing here is for threads.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from enum import Enum
from typing import Generic, TypeAlias, TypeVar

Job = TypeVar("Job")
Answer = TypeVar("Answer")

_MOST = 64
"""That go together."""
_AT_ONCE = 1
"""That are under way while others wait: calls that go by themselves, and many that go together as one."""

PATIENCE = 0.005
"""Seconds that others wait for a call that goes by itself."""


class _Turn(Enum):
    ALONE = "alone"
    """It goes by itself, and others wait."""
    LEFT = "left"
    """It was not done together: it goes by itself, and nobody waits."""


_Told: TypeAlias = asyncio.Future[Answer | _Turn]


class Combiner(Generic[Job, Answer]):
    """Has calls go together.

    Args:
        together: does many; returns of each its answer, or what it raises, or None where it is to be done by itself.
        patience: seconds that others wait for a call that goes by itself.
    """

    def __init__(
        self,
        together: Callable[[Sequence[Job]], Awaitable[Sequence[Answer | Exception | None]]],
        patience: float = PATIENCE,
    ) -> None:
        self._together = together
        self._patience = patience
        self._under_way = 0
        # By organization, in the order of their last turns.
        self._waiting: dict[str, deque[tuple[Job, _Told[Answer]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, organization: str, job: Job, alone: Callable[[], Awaitable[Answer]]) -> Answer:
        """Do a call, with others where there are any.

        Args:
            organization: whose it is: of many that wait, those of each organization go in turn.
            job: what is done together with others.
            alone: does it by itself.
        """
        if self._under_way < _AT_ONCE:
            self._under_way += 1
            return await self._by_itself(alone)
        answer = await self._told(organization, job)
        if answer is _Turn.ALONE:
            return await self._by_itself(alone)
        return await alone() if isinstance(answer, _Turn) else answer

    async def _by_itself(self, alone: Callable[[], Awaitable[Answer]]) -> Answer:
        """Do a call that others wait for, but not for long."""
        over = False

        def end() -> None:
            nonlocal over
            if not over:
                over = True
                self._over()

        timer = asyncio.get_running_loop().call_later(self._patience, end)
        try:
            return await alone()
        finally:
            timer.cancel()
            end()

    async def _told(self, organization: str, job: Job) -> Answer | _Turn:
        """Wait for the answer of what is done together, or for a turn."""
        told: _Told[Answer] = asyncio.get_running_loop().create_future()
        waits = job, told
        self._waiting.setdefault(organization, deque()).append(waits)
        try:
            return await asyncio.shield(told)
        except asyncio.CancelledError:
            # The caller is gone. What is under way goes on to its end, and the call is in hand until then.
            waiting = self._waiting.get(organization)
            if waiting and waits in waiting:
                waiting.remove(waits)
                if not waiting:
                    del self._waiting[organization]
                raise
            await asyncio.wait([told])
            if not told.exception() and told.result() is _Turn.ALONE:
                self._over()
            raise

    def _over(self) -> None:
        self._under_way -= 1
        while self._waiting and self._under_way < _AT_ONCE:
            self._under_way += 1
            chosen = self._chosen()
            if len(chosen) == 1:
                chosen[0][1].set_result(_Turn.ALONE)
            else:
                # It is no part of any of the calls.
                task = asyncio.get_running_loop().create_task(self._go(chosen), context=Context())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def _chosen(self) -> list[tuple[Job, _Told[Answer]]]:
        chosen: list[tuple[Job, _Told[Answer]]] = []
        while self._waiting and len(chosen) < _MOST:
            organization = next(iter(self._waiting))
            waiting = self._waiting.pop(organization)
            chosen.append(waiting.popleft())
            if waiting:
                self._waiting[organization] = waiting
        return chosen

    async def _go(self, chosen: Sequence[tuple[Job, _Told[Answer]]]) -> None:
        answers: Sequence[Answer | Exception | None]
        try:
            answers = await self._together([job for job, _ in chosen])
        except Exception as error:
            answers = [error for _ in chosen]
        for (_, told), answer in zip(chosen, answers, strict=True):
            if isinstance(answer, Exception):
                told.set_exception(answer)
            else:
                told.set_result(_Turn.LEFT if answer is None else answer)
        self._over()
