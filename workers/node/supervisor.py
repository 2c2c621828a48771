"""Keeps the agent of a node running: starts its process, again if it dies, and tells it what the worker hears."""

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

import structlog

from workers.folder import Place, places
from workers.node.agent import FINISH_SECONDS, Command
from workers.settings import WorkerSettings

log = structlog.get_logger()

_PAUSE_SECONDS = 1.0
_LOOK_SECONDS = 0.1


class Supervisor:
    """The agent's process, as long as the block runs. Enter it before the pool forks.

    The pipe to the agent is inherited by the pool's processes: it ends when this process and all of them have.

    Args:
        settings: the worker's.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._patience = settings.task_kill_grace + 2 * FINISH_SECONDS
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe = -1
        self._ending = b""
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def __enter__(self) -> Self:
        self._start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ending:
            self._await_runs()
        self._closed.set()
        os.close(self._pipe)
        self._pipe = -1
        self._thread.join(self._patience)
        if self._thread.is_alive() and self._process is not None:
            log.error("agent.hangs", pid=self._process.pid)
            self._process.kill()
            self._thread.join()

    def _await_runs(self) -> None:
        """Wait for what still runs by no process of the pool, as long as it may: the agent ends it then."""
        deadline = time.monotonic() + self._settings.drain_seconds + self._patience
        while time.monotonic() < deadline and any(_runs(place) for place in places(self._settings.node_folder)):
            time.sleep(_LOOK_SECONDS)

    def beat(self) -> None:
        """Have it beat at once."""
        self._tell(Command.BEAT)

    def reads(self) -> None:
        """Tell it that the worker reads its queue."""
        self._tell(Command.READS)

    def drain(self) -> None:
        """Have what runs released when the drain time is over; at once, when called again. Good in a signal handler."""
        self._end(Command.DRAIN)

    def quit(self) -> None:
        """Have what runs released at once. Good in a signal handler."""
        self._end(Command.QUIT)

    def _end(self, command: Command) -> None:
        self._ending += command
        self._tell(command)

    def _tell(self, told: bytes) -> None:
        # An agent that died is told again when it has been started again; one that hangs would block us.
        with suppress(BrokenPipeError, BlockingIOError):
            os.write(self._pipe, told)

    def _start(self) -> None:
        reader, writer = os.pipe()
        try:
            # -P: a folder named like one of our packages, where we happen to run, must not be taken for it.
            # Not close_fds: Popen spawns the process then, without a pipe to it. A process of the pool that is forked
            # at this moment would hold such a pipe open, and Popen waits for its end. Descriptors are closed anyway.
            command = [sys.executable, "-P", "-m", "workers.node.agent"]
            self._process = subprocess.Popen(command, stdin=reader, close_fds=False)
        finally:
            os.close(reader)
        os.write(writer, self._settings.without_secrets().encode() + b"\n" + self._ending)
        os.set_blocking(writer, False)
        old, self._pipe = self._pipe, writer
        if old != -1:
            os.close(old)

    def _watch(self) -> None:
        while self._process is not None:
            code = self._process.wait()
            if self._closed.wait(_PAUSE_SECONDS if code else 0):
                return
            log.error("agent.died", code=code)
            try:
                self._start()
            except OSError as error:
                log.error("agent.not_started", error=str(error))


def _runs(place: Place) -> bool:
    record = place.record()
    return record is not None and record.runs and place.lives()
