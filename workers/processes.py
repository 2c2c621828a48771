"""Processes of this machine that somebody else has started: which of them is which.

Where there is no /proc (anything but Linux) none is found, and none is ended.
"""

import contextlib
import os
import signal


def born(pid: int) -> str:
    """Return when a process started, in the kernel's ticks; empty when it cannot be told. Ids are used again."""
    fields = stat(pid)
    return "" if not fields or fields[0] == "Z" else fields[19]


def frozen(pid: int, started: str) -> bool:
    """Say whether a process, if it is the one that started then, has been stopped, as by SIGSTOP.

    Args:
        pid: its id.
        started: what `born` said of it.
    """
    fields = stat(pid)
    return bool(fields) and fields[0] == "T" and fields[19] == started


def end(pid: int, started: str) -> bool:
    """Kill a process, if it is the one that started then; say whether it was.

    Args:
        pid: its id.
        started: what `born` said of it.
    """
    if not started or born(pid) != started:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return True


def stat(pid: int) -> list[str]:
    """Return what the kernel says of a process: the state is the first field, the start the twentieth."""
    try:
        # The name, in brackets, comes before, and may hold anything.
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:  # noqa: PTH123 - one for each process of a machine
            return file.read().rpartition(b")")[2].decode().split()
    except OSError:
        return []
