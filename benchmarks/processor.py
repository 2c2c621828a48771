"""Time of the processors: what our processes had, which holds on a busy machine too, and what others took."""

import os
import time
from collections.abc import Iterable
from contextlib import suppress

import psutil


class Others:
    """How much of the machine others took since this was made: what makes a number untrustworthy."""

    def __init__(self) -> None:
        self._begun, self._busy, self._ours = time.monotonic(), _busy(), _ours()

    @property
    def share(self) -> float:
        """In percent of all processors."""
        all_of_it = (time.monotonic() - self._begun) * (os.cpu_count() or 1)
        taken = _busy() - self._busy - (_ours() - self._ours)
        return 100 * max(0.0, taken) / all_of_it


def _busy() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)


def _ours() -> float:
    us = psutil.Process()
    return spent([us, *us.children(recursive=True)])


def spent(processes: Iterable[psutil.Process]) -> float:
    """Return the seconds of processor that processes have had, and those of their children that have ended."""
    seconds = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            seconds += sum(process.cpu_times()[:4])
    return seconds
