"""Runs one command and sees to it that nothing of it survives; a program of its own, with the standard library.

It stands between the worker and the function for two reasons. Limits and process groups must be set after the
fork, and Python code between fork and exec (`preexec_fn`) can deadlock in a worker that has gRPC's threads: here
they are set in a fresh process with one thread, and inherited. And when the worker is killed with -9, something
must be left to end the function: this program's standard input is a pipe from the worker, and its end is the
order to end everything, given by the worker or by the worker's death.

It also keeps the function within its lease, whatever becomes of the worker's other processes: as soon as the lease is
over, another node may run the task, and the function is paused until the lease is renewed. One that is to end then is
killed at once, since it may not run on to hear of it.

Started as `launch.py GRACE MEMORY FILE_SIZE LEASE COMMAND…`: seconds between TERM and KILL, bytes of address space (0:
no limit), bytes of a file, a descriptor (see `left`; -1: no lease). Exits with the command's code, 128 + n after signal
n, 127 if it cannot be started.
"""

import contextlib
import ctypes
import math
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_ORDERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_POLL_SECONDS = 0.05
# States of a process that does not run and cannot fork: stopped, traced, ended.
_STILL = frozenset("TtZX")
# One that was stopped may just have forked; one that waits for a disk stops when it no longer does.
_PASSES = 10
# The one that goes on while the machine is suspended, where there is one.
_CLOCK = time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC


def clock() -> float:
    """Return the time by which leases are believed in, in seconds; all processes of a machine share it."""
    return time.clock_gettime(_CLOCK)


def left(lease: int | None) -> float:
    """Return for how many seconds a lease is still believed to hold; it may have been over for as long.

    Args:
        lease: a descriptor of a file whose time of modification is the end by `clock`: so it can be renewed on a full
            disk too, and by whoever finds the file. None: without end.
    """
    return math.inf if lease is None else os.fstat(lease).st_mtime - clock()


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that forked it dies (Linux)."""
    parent = os.getppid()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: list[str]) -> int:
    """Run the command; return its exit code."""
    grace, memory, file_size, lease, *command = arguments
    # Orphaned grandchildren, those in sessions of their own too, become our children, and can be found.
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _limit(int(memory), int(file_size))
    wake, alarm = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(alarm, False)
    signal.set_wakeup_fd(alarm)
    for number in (signal.SIGCHLD, *_ORDERS):
        # A handler, not SIG_IGN: what is ignored stays ignored in the command.
        signal.signal(number, lambda *_: None)
    try:
        # There are no threads here that preexec_fn could deadlock with.
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=die_with_parent)
    except OSError as error:
        print(f"{command[0]!r} cannot be started: {error.strerror}", file=sys.stderr)
        return 127
    try:
        _wait(child, wake, float(grace), None if lease == "-1" else int(lease))
    finally:
        _end_all(child)
    code: int = child.returncode
    return code if code >= 0 else 128 - code


def _wait(child: "subprocess.Popen[bytes]", wake: int, grace: float, lease: int | None) -> None:
    pause = _Pause(child.pid)
    deadline: float | None = None
    while child.poll() is None:
        seconds = left(lease)
        if deadline is not None:
            seconds = min(seconds, deadline - time.monotonic())
        if seconds > 0:
            pause.end()
        elif deadline is None:
            pause.hold()
        else:
            return
        heard = [wake] if deadline is not None else [wake, sys.stdin.fileno()]
        # Not until the lease is over: a sleep does not count the time for which the machine is suspended.
        pace = min(seconds, _POLL_SECONDS) if seconds > 0 else _POLL_SECONDS
        ready, _, _ = select.select(heard, [], [], pace)
        signals = os.read(wake, 4096) if wake in ready else b""
        ordered = sys.stdin.fileno() in ready or any(number in signals for number in _ORDERS)
        if ordered and deadline is None:
            deadline = time.monotonic() + grace
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)


class _Pause:
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
        children = _processes()
        if not children:
            return [(-self._group, "")]
        found, parents = [], [os.getpid()]
        while parents:
            born = children.get(parents.pop(), [])
            found += born
            parents += [pid for pid, _ in born]
        return found


def _end_all(child: "subprocess.Popen[bytes]") -> None:
    """Kill the group and every descendant, and reap them; a killed parent's children come to us in turn."""
    while True:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.kill()
        child.wait()
        # Where there is no /proc, the group must do.
        _signal([pid for pid, _ in _processes().get(os.getpid(), [])], signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _processes() -> dict[int, list[tuple[int, str]]]:
    """Return the ids and states of the children of each process; nothing where there is no /proc."""
    children: dict[int, list[tuple[int, str]]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = _fields(status)
            children.setdefault(int(parent), []).append((int(status.parent.name), state))
    return children


def _state(pid: int) -> str:
    """Return the state of a process, X when there is none (any more)."""
    status = Path("/proc") / str(pid) / "stat"
    try:
        return _fields(status)[0]
    except OSError:
        return "X" if pid > 0 else ""


def _fields(status: Path) -> list[str]:
    """Return the state and the parent; they come after the name, in brackets, which may hold anything."""
    return status.read_text(errors="replace").rpartition(")")[2].split()[:2]


def _signal(processes: Iterable[int], number: int) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _limit(memory: int, file_size: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_FSIZE, file_size)
    if memory:
        _lower(resource.RLIMIT_AS, memory)


def _lower(limit: int, value: int) -> None:
    _, highest = resource.getrlimit(limit)
    value = value if highest == resource.RLIM_INFINITY else min(value, highest)
    resource.setrlimit(limit, (value, value))


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl failed")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
