"""Where the launchers of one process come from: a server that forks them (see `launcher.forkserver`)."""

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from pathlib import Path

import structlog

from workers import processes
from workers.executors import launch, strays
from workers.executors.launcher import options
from workers.executors.launcher.options import Options

log = structlog.get_logger()

_PATIENCE_SECONDS = 30.0
_STOP_SECONDS = 2.0
_CHUNK = 4096
_KILLED = -9


class Launched:
    """A launcher that was forked for us.

    Args:
        own: our end of its socket.

    Attributes:
        pid: its id.
        code: the exit code of its command, once the launcher has ended; negative when the launcher itself was killed.

    Raises:
        OSError: it does not say that it is there.
    """

    def __init__(self, own: socket.socket) -> None:
        self._own = own
        self._said = b""
        self._waits = False
        self.code: int | None = None
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while b"\n" not in self._said:
            if not self._hear(deadline - time.monotonic()):
                raise OSError("a launcher has not started in time")
            if self.code is not None and b"\n" not in self._said:
                raise OSError("a launcher has ended before it started anything")
        self.pid = int(self._said.partition(b"\n")[0])
        self._born = processes.born(self.pid)

    def waits(self, seconds: float) -> bool:
        """Wait until its command waits for another; say whether it does.

        Args:
            seconds: to wait at most.
        """
        deadline = time.monotonic() + seconds
        while not self._waits and self.code is None and self._hear(deadline - time.monotonic()):
            pass
        # It may have died since it said so.
        while self.code is None and self._hear(0.0):
            pass
        return self._waits and self.code is None

    def start(self, words: Sequence[str], lease: int | None) -> None:
        """Have a command that waits become another; of a launcher that has ended nothing comes.

        Args:
            words: of that one.
            lease: a descriptor of the one that it reads; None for no lease.
        """
        with contextlib.suppress(OSError):
            socket.send_fds(self._own, [options.START], [] if lease is None else [lease])
            self._own.sendall(json.dumps(list(words)).encode() + b"\n")

    def tell(self, order: bytes) -> None:
        """Give it an order; one that has ended needs none."""
        with contextlib.suppress(OSError):
            self._own.sendall(order)

    def end(self) -> None:
        """Order it to end what still runs, with TERM first."""
        with contextlib.suppress(OSError):
            self._own.shutdown(socket.SHUT_WR)

    def ended(self, seconds: float) -> bool:
        """Wait for its end; say whether it has.

        Args:
            seconds: to wait at most.
        """
        if self.code is None:
            self._hear(seconds)
        return self.code is not None

    def kill(self) -> None:
        """Kill it."""
        processes.end(self.pid, self._born)

    def close(self) -> None:
        """Let go of it: what still runs is ended."""
        self._own.close()

    def _hear(self, seconds: float) -> bool:
        """Wait for a word of it, or its end; say whether there was one."""
        if not select.select([self._own], [], [], max(0.0, seconds))[0]:
            return False
        try:
            said = self._own.recv(_CHUNK)
        except ConnectionError:
            said = b""
        self._said += said
        for word in map(int, self._said.split(b"\n")[1:-1]):
            if word == options.WAITS:
                self._waits = True
            else:
                self.code = word
        if not said and self.code is None:
            self.code = _KILLED
        return True


class ForkServer:
    """Starts launchers; the server is started with the first, and again when it has died.

    It ends with this object, or with this process, however that goes.
    """

    def __init__(self) -> None:
        self._line: socket.socket | None = None
        self._stop: weakref.finalize[[socket.socket, subprocess.Popen[bytes]], ForkServer] | None = None

    def launch(
        self,
        folder: Path,
        how: Options,
        words: Sequence[str],
        environment: dict[str, str],
        *descriptors: int,
    ) -> Launched:
        """Start a launcher.

        Args:
            folder: where the command runs.
            how: it runs; `lease` does not count.
            words: of the command.
            environment: all that it sees of one.
            descriptors: what the launcher inherits: its log, the lock that it holds, and a lease, if there is one.

        Raises:
            OSError: it cannot be started.
        """
        job = {
            "folder": os.fspath(folder),
            "options": how._asdict(),
            "words": list(words),
            "environment": environment,
        }
        own, its = socket.socketpair()
        try:
            with its:
                self._send(its.fileno(), *descriptors)
            own.settimeout(_PATIENCE_SECONDS)
            own.sendall(json.dumps(job).encode() + b"\n")
            return Launched(own)
        except OSError:
            own.close()
            self.stop()
            raise

    def stop(self) -> None:
        """End the server, not its launchers."""
        if self._stop is not None:
            self._stop()
        self._line = None

    def _send(self, *descriptors: int) -> None:
        if self._line is not None:
            try:
                socket.send_fds(self._line, [b"."], descriptors)
                return
            except OSError:
                log.warning("forkserver.died")
                self.stop()
        socket.send_fds(self._start(), [b"."], descriptors)

    def _start(self) -> socket.socket:
        line, its = socket.socketpair()
        with its:
            # Neither preexec_fn nor threads of ours between fork and exec; the launcher sets the limits (it says why).
            server = subprocess.Popen(
                [sys.executable, "-IS", launch.__file__],
                cwd="/",
                env={},
                stdin=its.fileno(),
                start_new_session=True,
            )
        line.settimeout(_PATIENCE_SECONDS)
        strays.keep(server.pid)
        self._line, self._stop = line, weakref.finalize(self, _stop, line, server)
        return line


def _stop(line: socket.socket, server: "subprocess.Popen[bytes]") -> None:
    line.close()
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        # Something froze it.
        server.kill()
        server.wait()
    strays.forget(server.pid)
