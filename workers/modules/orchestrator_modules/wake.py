"""A pipe that wakes a thread that waits for several things, from any thread and from handlers of signals."""

import os
import weakref
from contextlib import suppress


class Wake:
    """What can be waited for beside connections; nobody waits or locks to wake."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        _ALL.add(self)

    def fileno(self) -> int:
        """Return what is ready for reading once it was woken."""
        return self._reader

    def up(self) -> None:
        """Wake who waits, or who will."""
        if self._writer >= 0:
            # Full, it wakes all the same.
            with suppress(OSError):
                os.write(self._writer, b".")

    def clear(self) -> None:
        """Sleep again."""
        with suppress(BlockingIOError):
            while os.read(self._reader, 4096):
                pass

    def abandon(self) -> None:
        """Close it: it wakes nobody any more."""
        for end in (self._reader, self._writer):
            os.close(end)
        self._reader = self._writer = -1


_ALL: "weakref.WeakSet[Wake]" = weakref.WeakSet()


def _abandon_all() -> None:
    for wake in tuple(_ALL):
        _ALL.discard(wake)
        wake.abandon()


# A forked child shares the pipe, and must wake nobody of its parent's.
os.register_at_fork(after_in_child=_abandon_all)
