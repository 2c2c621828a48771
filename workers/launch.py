"""Runs one command and sees to it that nothing of it survives; a program of its own, with the standard library.

It stands between the worker and the function for two reasons. Limits and process groups must be set after the
fork, and Python code between fork and exec (`preexec_fn`) can deadlock in a worker that has gRPC's threads: here
they are set in a fresh process with one thread, and inherited. And when the worker is killed with -9, something
must be left to end the function: this program's standard input is a pipe from the worker, and its end is the
order to end everything, given by the worker or by the worker's death.

Started as `launch.py GRACE MEMORY FILE_SIZE COMMAND…`: seconds between TERM and KILL, bytes of address space (0:
no limit), bytes of a file. Exits with the command's code, 128 + n after signal n, 127 if it cannot be started.
"""

import contextlib
import ctypes
import os
import resource
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_ORDERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that forked it dies (Linux)."""
    parent = os.getppid()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: list[str]) -> int:
    """Run the command; return its exit code."""
    grace, memory, file_size, command = arguments[0], arguments[1], arguments[2], arguments[3:]
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
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    except OSError as error:
        print(f"{command[0]!r} cannot be started: {error.strerror}", file=sys.stderr)
        return 127
    try:
        _wait(child, wake, float(grace))
    finally:
        _end_all(child)
    code: int = child.returncode
    return code if code >= 0 else 128 - code


def _wait(child: "subprocess.Popen[bytes]", wake: int, grace: float) -> None:
    deadline: float | None = None
    while child.poll() is None:
        if deadline is None:
            ready, _, _ = select.select([wake, sys.stdin.fileno()], [], [])
        else:
            ready, _, _ = select.select([wake], [], [], max(0.0, deadline - time.monotonic()))
        signals = os.read(wake, 4096) if wake in ready else b""
        ordered = sys.stdin.fileno() in ready or any(number in signals for number in _ORDERS)
        if ordered and deadline is None:
            deadline = time.monotonic() + grace
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
        if deadline is not None and time.monotonic() >= deadline:
            return


def _end_all(child: "subprocess.Popen[bytes]") -> None:
    """Kill the group and every descendant, and reap them; a killed parent's children come to us in turn."""
    while True:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.kill()
        child.wait()
        for descendant in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(descendant, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children() -> list[int]:
    """Return our direct children; none where there is no /proc, and the group must do."""
    ours = str(os.getpid())
    children = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The name, in brackets, may hold anything; the parent is the second field after it.
            if status.read_text(errors="replace").rpartition(")")[2].split()[1] == ours:
                children.append(int(status.parent.name))
    return children


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
