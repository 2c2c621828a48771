"""All that descends from a launcher: stopped and continued as a whole, and ended."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterable

# States of a process that does not run and cannot fork: stopped, traced, ended.
_STILL = frozenset("TtZX")
# One that was stopped may just have forked; one that waits for a disk stops when it no longer does.
_PASSES = 10


class Pause:
    """The function's processes, kept from running for a while.

    Args:
        group: of the function; where there is no /proc to look into, it must do.
    """

    def __init__(self, group: int) -> None:
        self._group = group
        self._stopped: set[int] = set()
        self._whole = False

    def hold(self) -> None:
        """Stop what runs; to be repeated, since others may continue it."""
        if self._whole and all(_state(pid) in _STILL for pid in self._stopped):
            return
        self._whole = calm = False
        for _ in range(_PASSES):
            running = [pid for pid, state in self._found() if state not in _STILL]
            if calm and not running:
                self._whole = True
                return
            # A second look: one that forked while we looked may have stopped before we came to it.
            calm = not running
            _signal(running, signal.SIGSTOP)
            self._stopped.update(running)

    def end(self) -> None:
        """Let what was stopped go on."""
        _signal(self._stopped, signal.SIGCONT)
        self._stopped.clear()
        self._whole = False

    def _found(self) -> list[tuple[int, str]]:
        """Return the ids and states of our descendants."""
        known = _processes()
        if not known:
            return [(-self._group, "")]
        found, parents = [], [os.getpid()]
        while parents:
            born = known.get(parents.pop(), [])
            found += born
            parents += [pid for pid, _ in born]
        return found


def end_all(child: "subprocess.Popen[bytes]") -> None:
    """Kill the group and every descendant, and reap them; a killed parent's children come to us in turn.

    Args:
        child: the leader of the group.
    """
    while True:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.kill()
        child.wait()
        try:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                # Where there is no /proc, the group must do. One that is not listed is looked for again.
                _signal(_listed(), signal.SIGKILL)
                os.waitpid(-1, 0)
        except ChildProcessError:
            return


def children() -> list[int]:
    """Return the ids of our children; none where there is no /proc."""
    return [pid for pid, _ in _processes().get(os.getpid(), [])]


def _listed() -> list[int]:
    """Return the ids of our children, but perhaps for one beside which another has just ended.

    It looks at no process but this one, which has a single thread.
    """
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as listed:
            return [int(pid) for pid in listed.read().split()]
    except OSError:
        # A kernel without such lists.
        return children()


def _processes() -> dict[int, list[tuple[int, str]]]:
    """Return the ids and states of the children of each process; nothing where there is no /proc."""
    found: dict[int, list[tuple[int, str]]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdecimal():
            with contextlib.suppress(OSError):
                state, parent = _fields(int(name))
                found.setdefault(int(parent), []).append((int(name), state))
    return found


def _state(pid: int) -> str:
    """Return the state of a process, X when there is none (any more)."""
    try:
        return _fields(pid)[0]
    except OSError:
        return "X" if pid > 0 else ""


def _fields(pid: int) -> list[str]:
    """Return the state and the parent; they come after the name, in brackets, which may hold anything."""
    with open(f"/proc/{pid}/stat", errors="replace") as status:
        return status.read().rpartition(")")[2].split()[:2]


def _signal(processes: Iterable[int], number: int) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
