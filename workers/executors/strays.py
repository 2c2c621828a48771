"""Processes that a function left behind when nobody ended them.

Where there is no /proc (anything but Linux) none is found, and none is ended.
"""

import contextlib
import os
import signal
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from workers import processes

_PROC = Path("/proc")
_POLL_SECONDS = 0.02
_PATIENCE_SECONDS = 5.0

_kept: set[int] = set()


def keep(pid: int) -> None:
    """Say that a child of this process is no function's: `end_children` leaves it, and what descends from it."""
    _kept.add(pid)


def forget(pid: int) -> None:
    """Say that such a child has ended."""
    _kept.discard(pid)


def below(pid: int, spared: Collection[int] = ()) -> dict[int, int]:
    """Return the processes that descend from one, with how many threads each has.

    Args:
        pid: its id.
        spared: children that are left out, with all that descends from them.
    """
    children: dict[int, list[tuple[int, int]]] = {}
    # A machine has hundreds: what `pathlib` adds to each would be most of it.
    for name in os.listdir(_PROC) if _PROC.exists() else ():  # noqa: PTH208
        if name.isdecimal() and (fields := processes.stat(int(name))):
            children.setdefault(int(fields[1]), []).append((int(name), int(fields[17])))
    found: dict[int, int] = {}
    parents = [pid]
    while parents:
        born = [(child, threads) for child, threads in children.get(parents.pop(), []) if child not in spared]
        found.update(born)
        parents += [child for child, _ in born]
    return found


def end_children() -> None:
    """Kill what descends from this process: what a function left behind in a process that has no other children.

    Those that are kept (see `keep`) are spared.

    Where this process is a subreaper (see `launcher.kernel`), nothing that it started can get away from it.
    """
    # Ordinary, and much cheaper than to look at all processes of the machine.
    if not _has_children():
        return
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while left := below(os.getpid(), _kept):
        if time.monotonic() > deadline:
            return
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        # Those that are not our own children yet become so as their parents go.
        _has_children()
        time.sleep(_POLL_SECONDS)


def end(home: Path) -> bool:
    """Kill what runs with this HOME, or in a sandbox where it is bound: what a function left, when nobody ended it.

    The launcher ends all that a function started (see `launcher`); this is for when the launcher itself was killed.

    Args:
        home: the folder that the function got as its HOME, of one attempt alone.

    Returns:
        Whether none of them is left.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    # Again and again: one that is killed may just have forked.
    while strays := list(_at_home(home)):
        if time.monotonic() > deadline:
            return False
        for pid in strays:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)
    return True


def _has_children() -> bool:
    """Reap the children that have ended; say whether there are others that are not kept."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    if not _kept:
        return True
    try:
        found = [file.read_text().split() for file in Path("/proc/self/task").glob("*/children")]
    except OSError:
        # A thread that has ended meanwhile.
        return True
    return not found or any(int(pid) not in _kept for pids in found for pid in pids)


def _at_home(home: Path) -> Iterator[int]:
    wanted = b"HOME=" + os.fsencode(home)
    # A process can change its environment, but not what is mounted in its sandbox. The name of an attempt's folder is
    # random; what is before it depends on the file system.
    bound = os.fsencode(f"/{home.parent.name}/{home.name} ")
    own = os.getpid()
    for process in _PROC.glob("[0-9]*"):
        # Those of other users cannot be read, and those that have ended meanwhile neither.
        with contextlib.suppress(OSError):
            found = wanted in (process / "environ").read_bytes().split(b"\0")
            if (found or bound in (process / "mountinfo").read_bytes()) and int(process.name) != own:
                yield int(process.name)
