"""The process of the script, as its agent sees it."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait

from orchestrator_modules import frames, program

_GONE_SECONDS = 1.0
_LOOK_SECONDS = 0.02


class Script:
    """What is said to it, and what it says.

    Args:
        connection: to it.
        orders: a file descriptor: a byte there says that it ends.
    """

    def __init__(self, connection: Connection, orders: int) -> None:
        self._connection = connection
        self._orders: int | None = orders
        self._pid = os.getppid()
        self._sending = threading.Lock()

    def said(self) -> Iterator[object]:
        """Yield what it says, until its process is gone."""
        while True:
            waited: list[Connection | int] = [self._connection]
            ready = wait([*waited, *([] if self._orders is None else [self._orders])])
            if self._orders in ready and self._orders is not None:
                # Its end says no more than the other's.
                if os.read(self._orders, 64):
                    yield frames.Leave()
                else:
                    self._orders = None
            if self._connection in ready:
                try:
                    yield self._connection.recv()
                except (EOFError, OSError):
                    return

    def tell(self, frame: object) -> None:
        """Tell it something; where it is gone, `said` knows."""
        with suppress(OSError, ValueError), self._sending:
            self._connection.send(frame)

    @property
    def lives(self) -> bool:
        """Whether its process is there, whichever program that runs."""
        return os.getppid() == self._pid

    def kill(self) -> None:
        """End its process, whatever that does."""
        if self.lives:
            os.kill(self._pid, signal.SIGKILL)

    def start_again(self, hello: frames.Hello, command: str) -> None:
        """Start its command line again, unless its process does so itself.

        Args:
            hello: what it has said of itself.
            command: the command that wants it; empty without.

        Raises:
            OSError: it cannot be started.
        """
        deadline = time.monotonic() + _GONE_SECONDS
        while self.lives and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        if not self.lives:
            subprocess.Popen(
                hello.program.command,
                cwd=hello.program.folder,
                env=os.environ | program.told(hello.process, command),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
