"""The agent of a module's process, and the two ways to it: sockets for frames, and a pipe for a byte."""

import os
import socket
import subprocess
import sys
import weakref
from contextlib import suppress
from multiprocessing.connection import Connection

from orchestrator_modules import children
from orchestrator_modules.frames import Hello

_AGENT = "orchestrator_modules.agent.main"


class Link:
    """An agent that runs, until it is closed.

    The agent is started as a program of its own, so that nothing of it is forked with a callback; it ends when this
    process does. What links to it is closed in forked children.

    Args:
        hello: what it is told first.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, hello: Hello) -> None:
        ours, its = socket.socketpair()
        self.connection = Connection(ours.detach())
        with its:
            # In a session of its own: Ctrl-C is for the script.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _AGENT, str(its.fileno())],
                stdin=subprocess.PIPE,
                pass_fds=[its.fileno()],
                start_new_session=True,
                bufsize=0,
            )
        children.AGENTS.add(self._process.pid)
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        self._orders = self._process.stdin.fileno()
        os.set_blocking(self._orders, False)
        _OPEN.add(self)
        self.send(hello)

    def send(self, frame: object) -> None:
        """Tell it something; by one thread alone.

        Raises:
            OSError: it is gone.
        """
        self.connection.send(frame)

    def leave(self) -> None:
        """Tell it that this process ends, without waiting for anything: as from the handler of a signal."""
        if self._orders >= 0:
            with suppress(OSError):
                os.write(self._orders, b"q")

    def close(self) -> None:
        """See to it that it has ended."""
        self.abandon()
        self._process.kill()
        self._process.wait()
        children.AGENTS.discard(self._process.pid)

    def abandon(self) -> None:
        """Close what leads to it: it ends then, when all is said."""
        _OPEN.discard(self)
        self._orders = -1
        self.connection.close()
        if self._process.stdin is not None:
            self._process.stdin.close()


_OPEN: "weakref.WeakSet[Link]" = weakref.WeakSet()


def _abandon_all() -> None:
    for link in tuple(_OPEN):
        link.abandon()


os.register_at_fork(after_in_child=_abandon_all)
