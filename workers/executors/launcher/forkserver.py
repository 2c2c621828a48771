"""Forks launchers: each is a process of its own, and none waits until Python has started and imported what it needs.

It belongs to one process of the worker, on whose socket, its standard input, it is told of each launcher: one byte, and
the descriptors of that launcher. It ends with the socket. It has one thread, and holds nothing of any function: what a
launcher runs is told on that launcher's own socket, and read after the fork.
"""

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time

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
    """Fork a launcher whenever it is told to.

    Args:
        line: a socket. Each byte that comes is a launcher, with its descriptors: its own socket, its log, the lock that
            it holds, and the lease that it reads, where there is one.
    """
    # The orphans of a launcher that was killed become ours.
    become_subreaper()
    wake, alarm = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(alarm, False)
    signal.set_wakeup_fd(alarm)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    launchers: set[int] = set()
    # What is there stays there: no launcher copies it when it collects its garbage.
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=line) as told:
        while True:
            ready, _, _ = select.select([line, wake], [], [])
            if wake in ready:
                os.read(wake, _CHUNK)
                _reap(launchers)
            if line in ready:
                byte, descriptors, _, _ = socket.recv_fds(told, 1, _DESCRIPTORS)
                if not byte:
                    return
                if not (pid := os.fork()):
                    os.close(wake)
                    os.close(alarm)
                    _launch(descriptors)
                launchers.add(pid)
                for descriptor in descriptors:
                    os.close(descriptor)


def _launch(descriptors: list[int]) -> None:
    """Be a launcher; what became of its command it says as its last word, when nothing is left of it."""
    own, output, *kept = descriptors
    code = 1
    try:
        os.setsid()
        for descriptor, standard in ((own, 0), (output, 1), (output, 2)):
            os.dup2(descriptor, standard)
        os.close(own)
        os.close(output)
        line = Line(0)
        line.say(os.getpid())
        job = line.read()
        os.chdir(job["folder"])
        options = Options(**job["options"])._replace(lease=kept[1] if len(kept) > 1 else None)
        code = main.launch(line, options, job["words"], job["environment"])
    except BaseException:
        sys.excepthook(*sys.exc_info())
    with contextlib.suppress(OSError):
        sys.stderr.flush()
        os.close(kept[0])
        Line(0).say(code)
    os._exit(code)


def _reap(launchers: set[int]) -> None:
    """Reap the dead; kill what a launcher left behind that was killed, and so could not end it itself."""
    harmed = False
    for pid, status in _dead():
        harmed = harmed or (pid in launchers and os.WIFSIGNALED(status))
        launchers.discard(pid)
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
            launchers.discard(pid)


def _dead() -> list[tuple[int, int]]:
    found = []
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            found.append(ended)
    return found
