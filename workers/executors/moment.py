"""A moment that another process may ask about, after a restart and on another machine too."""

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from workers.executors.lease import clock

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Moment:
    """A moment.

    Args:
        boot: of which start of which machine, where that can be told.
        clock: by the clock of leases, which means something there alone.
        wall: by the one that people set.
    """

    boot: str
    clock: float
    wall: float

    @classmethod
    def now(cls) -> "Moment":
        """Return this one."""
        return cls(_boot(), clock(), time.time())

    @property
    def is_here(self) -> bool:
        """Whether it was on this machine, and since its last start."""
        return bool(self.boot) and self.boot == _boot()

    @property
    def ago(self) -> float:
        """How many seconds have passed since, as well as can be told."""
        return max(0.0, clock() - self.clock if self.is_here else time.time() - self.wall)


def _boot() -> str:
    with suppress(OSError):
        return _BOOT.read_text().strip()
    return ""
