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


def limit(options: Options) -> None:
    """Limit this process and what it will start."""
    if options.cgroup:
        with open(f"{options.cgroup}/cgroup.procs", "w") as file:
            file.write("0")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_FSIZE, options.file_size)
    _lower(resource.RLIMIT_NOFILE, options.open_files)
    if options.memory:
        _lower(resource.RLIMIT_AS, options.memory)


def _lower(limit: int, value: int) -> None:
    soft, highest = (math.inf if each == resource.RLIM_INFINITY else each for each in resource.getrlimit(limit))
    value = int(min(value, highest))
    # The soft limit on open files stays: there are programs that close as many at their start.
    resource.setrlimit(limit, (int(min(value, soft)) if limit == resource.RLIMIT_NOFILE else value, value))


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")
