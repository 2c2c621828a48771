"""The database's time, by which all is written that is compared later.

The clocks of the machines that servers and sweeps run on differ, and jump. So nobody writes or compares by them: each
process knows how far the database's clock is from how long its own machine has been running, which neither jumps nor
depends on anybody's idea of the time. Every new connection measures that, and so does whoever has long had one.
"""

import threading
import time
from datetime import UTC, datetime, timedelta

# It goes on while a machine is suspended, where there is one that does.
_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def ticks() -> float:
    """Return for how many seconds this machine has been running."""
    return time.clock_gettime(_SINCE_BOOT)


class Clock:
    """What a process knows of the database's time; before anything was measured, this machine's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offset: float | None = None

    def now(self) -> datetime:
        """Return the time."""
        offset = self._offset
        return datetime.now(UTC) if offset is None else _EPOCH + timedelta(seconds=ticks() + offset)

    def measured(self, said: datetime, asked: float, answered: float) -> None:
        """Take note of what the database said.

        Somewhere between question and answer that was the time. What is known already holds where it may be true by
        that, and else is corrected no further than needed: so a slow answer does not make the time unsteady.

        Args:
            said: the time.
            asked: the ticks before it was asked.
            answered: the ticks after it had answered.
        """
        seconds = (said - _EPOCH).total_seconds()
        least, most = seconds - answered, seconds - asked
        with self._lock:
            self._offset = (least + most) / 2 if self._offset is None else min(max(self._offset, least), most)
