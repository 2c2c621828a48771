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

    A step that fails is tried again, after a pause that grows to five seconds.

    Args:
        name: for the log.
        step: does one batch and returns whether more may be left.
        poll: seconds after which it runs unasked.
        pause: told whether it was woken during a step, tells the seconds after it before that is heeded.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], Awaitable[bool]],
        poll: float,
        pause: Callable[[bool], float] = lambda _: 0.0,
    ) -> None:
        self.name = name
        self._step = step
        self._poll = poll
        self._pause = pause
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
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            pause = _FIRST_PAUSE
            if rest := self._pause(self._woken.is_set()):
                await asyncio.sleep(rest)
            # Not wait_for: before Python 3.12 it lives through a cancellation that comes with its result.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll):
                    await self._woken.wait()
