"""An endless loop around one step that does a bounded batch: woken by a signal, and by a poll as a safety net.

It follows the load: one that is idle starts at once; one that is woken again and again may pause between two steps, so
that each finds more to do.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger()

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0


class Pump:
    """Runs a step until nothing more is left to do, then waits.

    A step that fails is tried again, after a pause that grows to five seconds. Who is woken by a commit knows that the
    database is back: then the pause is over early.

    Args:
        name: for the log.
        step: does one batch and returns whether more may be left.
        poll: seconds after which it runs unasked.
        pause: told whether it was woken during a step, tells the seconds after it before that is heeded.
        lasting: what a step raises where being woken does not say that the fault may be over.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], Awaitable[bool]],
        poll: float,
        pause: Callable[[bool], float] = lambda _: 0.0,
        *,
        lasting: tuple[type[Exception], ...] = (),
    ) -> None:
        self.name = name
        self._step = step
        self._poll = poll
        self._pause = pause
        self._lasting = lasting
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Tell it that there may be something to do; to be called in its event loop."""
        self._woken.set()

    async def run(self) -> None:
        """Run until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            self._woken.clear()
            try:
                while await self._step():
                    pass
            except Exception as error:
                log.warning("pump.failed", pump=self.name, error=str(error).partition("\n")[0], retry_in_seconds=pause)
                # However often it is woken, it does not try without a rest.
                rest = pause if isinstance(error, self._lasting) else _FIRST_PAUSE
                await asyncio.sleep(rest)
                await self._wait(pause - rest)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            if rest := self._pause(self._woken.is_set()):
                await asyncio.sleep(rest)
            await self._wait(self._poll)

    async def _wait(self, seconds: float) -> None:
        # Not wait_for: before Python 3.12 it lives through a cancellation that comes with its result.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
