"""Until when a run is believed to live. Of the standard library alone: the launcher reads it too."""

import math
import os
import sys
import time

# The one that goes on while the machine is suspended, where there is one.
_CLOCK = time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC


def clock() -> float:
    """Return the time by which leases are believed in, in seconds; all processes of a machine share it."""
    return time.clock_gettime(_CLOCK)


def left(lease: "int | os.PathLike[str] | None") -> float:
    """Return for how many seconds a lease is still believed to hold; it may have been over for as long.

    Args:
        lease: a file, or a descriptor of one, whose time of modification is the end by `clock`: so it can be renewed on
            a full disk too, and by whoever finds the file. None: without end.
    """
    return math.inf if lease is None else os.stat(lease).st_mtime - clock()  # noqa: PTH116 - pathlib is slow to import
