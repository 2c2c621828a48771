"""Attempts whose process has gone and whose function has not: each gets a process that goes on with it.

For executors whose runs last (see `executors.lasting`), and from the moment on at which an attempt has left what others
need for it (see `run.handover`). All else that is abandoned is cleaned up (see `cleanup`).
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import structlog

from workers import folder, processes
from workers.executors import registry
from workers.executors.lasting import Lasting
from workers.executors.lease import clock
from workers.folder import Place
from workers.run import orders
from workers.run.handover import Handover
from workers.settings import WorkerSettings

log = structlog.get_logger()

_RETRY_SECONDS = 2.0
# A successor that dies is followed by another so many times: what kills each is not to be tried for ever.
_MOST = 5
# On another machine nobody knows when a lease ends: so long it is asked for.
_ASKING_SECONDS = 30.0


class Succession:
    """The successors of one node.

    Args:
        settings: the worker's.

    Attributes:
        lasts: whether the node's runs can have any.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self.lasts = isinstance(registry.make(settings), Lasting)
        self._processes: dict[Path, subprocess.Popen[bytes]] = {}
        self._begun: dict[Path, int] = {}
        self._next: dict[Path, float] = {}
        self._left = False

    def find(self) -> None:
        """Look at what a worker before this one has left; before anybody renews its leases."""
        for place in folder.places(self._settings.node_folder):
            # The clock of leases is the machine's. Until the orchestrator is heard the guard of the run holds it.
            if self.has(place) and not Handover(place.folder).begun().moment.is_here:
                orders.renew(place, clock() + _ASKING_SECONDS)

    def has(self, place: Place) -> bool:
        """Say whether somebody may go on with what is in a folder."""
        if not self.lasts or not Handover(place.folder).is_there or orders.given(place) is not None:
            return False
        record = place.record()
        return record is not None and record.runs

    def begin(self, place: Place, lock: int) -> bool:
        """Have somebody go on with what is in an abandoned folder.

        Args:
            place: the folder.
            lock: what `Place.seize` returned; it is closed here where the answer is yes.

        Returns:
            Whether it is not to be cleaned up.
        """
        if not self.has(place):
            return False
        if self._begun.get(place.folder, 0) >= _MOST:
            log.error("attempt.not_succeeded", folder=place.folder.name, times=_MOST)
            Handover(place.folder).forget()
            return False
        try:
            if not self._left and time.monotonic() >= self._next.get(place.folder, 0.0):
                self._start(place, lock)
        except OSError as error:
            log.error("successor.not_started", folder=place.folder.name, error=str(error))
        finally:
            os.close(lock)
        return True

    def process(self, place: Place) -> tuple[int, str] | None:
        """Return the process that has a folder as a successor, its id and when it started; None where none has."""
        running = self._processes.get(place.folder)
        if running is None or running.poll() is not None:
            return None
        return running.pid, processes.born(running.pid)

    def leave(self) -> None:
        """Leave all to the worker that comes next: this one has gone."""
        self._left = True
        for running in self._processes.values():
            running.kill()

    def close(self) -> None:
        """See to it that none is there any more; what one still had is left to the next worker."""
        for running in self._processes.values():
            try:
                running.wait(_RETRY_SECONDS)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()

    def bury(self) -> None:
        """Forget those that have ended; in each look of the agent."""
        for path, running in list(self._processes.items()):
            if running.poll() is not None:
                del self._processes[path]
                if running.returncode:
                    log.error("successor.died", folder=path.name, code=running.returncode)

    def _start(self, place: Place, lock: int) -> None:
        self._begun[place.folder] = self._begun.get(place.folder, 0) + 1
        self._next[place.folder] = time.monotonic() + _RETRY_SECONDS
        # -P: see `supervisor`. From this thread, which lives as long as this process: the successor ends with it.
        command = [sys.executable, "-P", "-m", "workers.run.successor", os.fspath(place.folder), str(lock)]
        running = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[lock])
        self._processes[place.folder] = running
        assert running.stdin is not None  # noqa: S101 - narrows the type
        with running.stdin as told:
            told.write(self._settings.without_secrets().encode() + b"\n")
        log.info("attempt.succeeded", folder=place.folder.name, by=running.pid)
