"""Forks launchers: each is a process of its own, and none waits until Python has started and imported what it needs.

It belongs to one process of the worker, on whose socket, its standard input, it is told of each run: one byte, and the
descriptors of that run. It ends with the socket. It has one thread, and holds nothing of any function: what a launcher
runs is told on that run's own socket, which the launcher reads.

A launcher whose run has ended by itself in its sandbox, and left nothing, takes the next one, which costs less than to
fork another. It has loaded no function's code, and nothing that it held for a run stays open.
"""

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterable

from workers.executors.launcher import main
from workers.executors.launcher.kernel import become_subreaper
from workers.executors.launcher.line import Line
from workers.executors.launcher.options import Options
from workers.executors.launcher.tree import children

_DESCRIPTORS = 4
_CHUNK = 64 * 1024
# Of orphans that fork while they are killed.
_PASSES = 1000
_PASS_SECONDS = 0.002


def serve(line: int) -> None:
    """Have a launcher see to each run that it is told of.

    Args:
        line: a socket. Each byte that comes is a run, with its descriptors: its own socket, its log, the lock that its
            launcher holds, and the lease that it reads, where there is one.
    """
    # The orphans of a launcher that was killed become ours.
    become_subreaper()
    wake, alarm = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(alarm, False)
    signal.set_wakeup_fd(alarm)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # By the id of each, the socket on which it is handed its runs; and those that have none.
    launchers: dict[int, socket.socket] = {}
    free: list[socket.socket] = []
    # What is there stays there: no launcher copies it when it collects its garbage.
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=line) as told:
        while True:
            ready, _, _ = select.select([line, wake, *(each.fileno() for each in launchers.values())], [], [])
            # Who is free has said so before its worker could ask for another.
            free += [each for each in launchers.values() if each.fileno() in ready and _says(each)]
            if wake in ready:
                os.read(wake, _CHUNK)
                _reap(launchers)
            if line in ready:
                byte, descriptors, _, _ = socket.recv_fds(told, 1, _DESCRIPTORS)
                if not byte:
                    return
                if not (free and _hand(free.pop(), descriptors)):
                    pid, launcher = _fork(line, (wake, alarm, *descriptors), launchers.values())
                    launchers[pid] = launcher
                    _hand(launcher, descriptors)
                for descriptor in descriptors:
                    os.close(descriptor)


def _fork(line: int, ours: Iterable[int], others: Iterable[socket.socket]) -> tuple[int, socket.socket]:
    """Fork a launcher; return its id, and the socket on which it is handed its runs.

    Args:
        line: the descriptor of our own socket.
        ours: other descriptors that are none of its business.
        others: sockets to those that were forked before, whose end is to be seen by them.
    """
    own, its = socket.socketpair()
    if not (pid := os.fork()):
        signal.set_wakeup_fd(-1)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, line)
        for descriptor in (null, *ours):
            os.close(descriptor)
        for each in (own, *others):
            each.close()
        _launch(its)
    its.close()
    return pid, own


def _says(launcher: socket.socket) -> bool:
    with contextlib.suppress(OSError):
        return bool(launcher.recv(1))
    return False


def _hand(launcher: socket.socket, descriptors: list[int]) -> bool:
    """Hand a run to a launcher; say whether it is there to take it."""
    with contextlib.suppress(OSError):
        socket.send_fds(launcher, [b"."], descriptors)
        return True
    return False


def _launch(desk: socket.socket) -> None:
    """Be a launcher: see to the runs that are handed over, until one has left something, or nobody is there."""
    try:
        os.setsid()
        said = os.dup(2)
        with contextlib.suppress(ConnectionError):
            while (handed := socket.recv_fds(desk, 1, _DESCRIPTORS))[0] and _run(desk, *handed[1]):
                os.chdir("/")
                for standard in (1, 2):
                    os.dup2(said, standard)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    os._exit(0)


def _run(desk: socket.socket, own: int, output: int, lock: int, lease: int | None = None) -> bool:
    """See to one run; what became of its command is its last word, when nothing is left of it.

    Returns:
        Whether there may be another.
    """
    code, again = 1, False
    with Line(own) as line:
        try:
            for standard in (1, 2):
                os.dup2(output, standard)
            os.close(output)
            line.say(os.getpid())
            job = line.read()
            os.chdir(job["folder"])
            options = Options(**job["options"])._replace(lease=lease)
            code, again = main.launch(line, options, job["words"], job["environment"])
        except BaseException:
            sys.excepthook(*sys.exc_info())
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os.close(lock)
        if again:
            with contextlib.suppress(OSError):
                desk.sendall(b".")
        with contextlib.suppress(OSError):
            line.say(code)
    return again


def _reap(launchers: dict[int, socket.socket]) -> None:
    """Reap the dead; kill what a launcher left behind that was killed, and so could not end it itself."""
    harmed = False
    for pid, status in _dead():
        harmed = harmed or (pid in launchers and os.WIFSIGNALED(status))
        _bury(launchers, pid)
    for _ in range(_PASSES if harmed else 0):
        orphans = [pid for pid in children() if pid not in launchers]
        if not orphans:
            return
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        # Theirs become ours as they go.
        time.sleep(_PASS_SECONDS)
        for pid, _ in _dead():
            _bury(launchers, pid)


def _bury(launchers: dict[int, socket.socket], pid: int) -> None:
    if (launcher := launchers.pop(pid, None)) is not None:
        launcher.close()


def _dead() -> list[tuple[int, int]]:
    found = []
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            found.append(ended)
    return found
