"""What is asked of the kernel for a process and its descendants."""

import ctypes
import math
import os
import resource
import signal
import sys

from workers.executors.launcher.options import Options

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that forked it dies (Linux)."""
    parent = os.getppid()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def become_subreaper() -> None:
    """Have the orphans among our descendants become our children (Linux)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def limit(options: Options, pid: int = 0) -> None:
    """Limit a process and what it will start.

    Args:
        options: say how.
        pid: its id; 0 for this one.

    Raises:
        OSError: it cannot be limited, or has ended.
    """
    if options.cgroup:
        with open(f"{options.cgroup}/cgroup.procs", "w") as file:
            file.write(str(pid))
    _bounds(pid, resource.RLIMIT_CORE, (0, 0))
    _lower(pid, resource.RLIMIT_FSIZE, options.file_size)
    _lower(pid, resource.RLIMIT_NOFILE, options.open_files)
    if options.memory:
        _lower(pid, resource.RLIMIT_AS, options.memory)


def _lower(pid: int, limit: int, value: int) -> None:
    soft, highest = (math.inf if each == resource.RLIM_INFINITY else each for each in _bounds(pid, limit))
    value = int(min(value, highest))
    # The soft limit on open files stays: there are programs that close as many at their start.
    _bounds(pid, limit, (int(min(value, soft)) if limit == resource.RLIMIT_NOFILE else value, value))


def _bounds(pid: int, limit: int, new: tuple[int, int] | None = None) -> tuple[int, int]:
    """Return a limit of a process, soft and hard, and set it where there is a new one."""
    if pid:
        return resource.prlimit(pid, limit) if new is None else resource.prlimit(pid, limit, new)
    found = resource.getrlimit(limit)
    if new is not None:
        resource.setrlimit(limit, new)
    return found


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")
