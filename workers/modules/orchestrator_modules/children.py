"""The processes that this one has started, its agents apart: those of a callback, which are its thread's, and all."""

import signal
from contextlib import suppress
from pathlib import Path

import psutil

AGENTS: set[int] = set()
"""The ids of the agents of this process, which no callback has started."""


def of_thread(thread: int) -> list[psutil.Process]:
    """Return the processes that a living thread of this process has started, and all that these have.

    The kernel of Linux tells which thread has started a process. Where it does not, none is known.

    Args:
        thread: its native id.
    """
    try:
        children = Path(f"/proc/self/task/{thread}/children").read_text().split()
    except OSError:
        return []
    found: list[psutil.Process] = []
    for pid in map(int, children):
        if pid not in AGENTS:
            with suppress(psutil.NoSuchProcess):
                child = psutil.Process(pid)
                found += [child, *child.children(recursive=True)]
    return found


def end(processes: list[psutil.Process], number: signal.Signals) -> None:
    """Send processes a signal; those that are gone are passed over."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def end_all() -> None:
    """Kill what this process has started, and all that that has."""
    mine = [child for child in psutil.Process().children() if child.pid not in AGENTS]
    for child in mine:
        with suppress(psutil.NoSuchProcess):
            end([child, *child.children(recursive=True)], signal.SIGKILL)
