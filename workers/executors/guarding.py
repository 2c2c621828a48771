"""A worker's side of a container's guard (see `launcher.guard`): it is known by its attempt's folder.

It keeps a file in the attempt's folder locked as long as it lives; the kernel takes the lock away however it went.
"""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from workers import processes
from workers.executors import launch, strays
from workers.executors.executor import LOG, Job
from workers.executors.lasting import LostRunError

_POLL_SECONDS = 0.02
_SEIZE_SECONDS = 1.0
_LOCK, _ENDED = "guard", "ended"
ENDING = "ending"
"""The file in an attempt's folder that says that its container is being ended."""


class Guarding:
    """A guard that this process has started.

    Args:
        engine: words of the engine's command.
        environment: that it gets.
        name: of the container.
        job: what runs in it.
        begun: whether it runs already, and has lost its guard.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, engine: list[str], environment: dict[str, str], name: str, job: Job, *, begun: bool) -> None:
        lock = os.open(job.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        lease = None
        try:
            lease = None if job.lease is None else os.open(job.lease, os.O_RDONLY)
            _seize(lock)
            said = job.log.stat().st_size if begun and job.log.exists() else 0
            told = {
                "engine": engine,
                "name": name,
                "lease": lease,
                "log_size": max(0, job.limits.log_size - said),
                "memory": job.limits.memory or 0,
                "program": job.command[0] if job.command else "",
                "ended": os.fspath(job.folder / _ENDED),
                "ending": os.fspath(job.folder / ENDING),
                "begun": begun,
            }
            with (job.folder / LOG).open("ab") as output:
                self._process = subprocess.Popen(
                    [sys.executable, "-IS", launch.__file__, json.dumps(told)],
                    cwd="/",
                    env=environment,
                    # Its end says that the worker has gone.
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    pass_fds=[lock, *([] if lease is None else [lease])],
                    start_new_session=True,
                )
            strays.keep(self._process.pid)
            os.ftruncate(lock, 0)
            os.pwrite(lock, json.dumps([self._process.pid, processes.born(self._process.pid)]).encode(), 0)
        finally:
            os.close(lock)
            if lease is not None:
                os.close(lease)

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended, with its container; say whether it has.

        Args:
            seconds: to wait at most.
        """
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self._process.poll() is not None

    def close(self) -> None:
        """Let go of one that has ended."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        strays.forget(self._process.pid)
        self._process.poll()


class Found:
    """A guard that another process has started.

    Args:
        folder: of the attempt.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended; say whether it has.

        Args:
            seconds: to wait at most.
        """
        return await_end(self._folder, seconds)

    def close(self) -> None:
        """Do nothing: it is no child of this process."""


def _seize(lock: int) -> None:
    """Lock the file of a guard that is to be; who looks whether there is one has it for a moment.

    Raises:
        OSError: there is another.
    """
    deadline = time.monotonic() + _SEIZE_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_POLL_SECONDS)


def lives(folder: Path) -> bool:
    """Say whether the guard of an attempt lives."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def await_end(folder: Path, seconds: float) -> bool:
    """Wait for the end of a guard, whoever has started it; say whether it has ended.

    Args:
        folder: of the attempt.
        seconds: to wait at most.
    """
    deadline = time.monotonic() + seconds
    while lives(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def kill(folder: Path) -> None:
    """Kill the guard of an attempt, which something has frozen."""
    with contextlib.suppress(OSError, ValueError):
        pid, born = json.loads((folder / _LOCK).read_text())
        processes.end(pid, born)


def ended(folder: Path) -> int | None:
    """Return the exit code of a container, as its guard wrote it down; None where it could not.

    A container that never began has the code 127, as a shell has for what it cannot find; why is in its log.

    Raises:
        LostRunError: its lease was over, and nobody was there who could have renewed it.
    """
    try:
        told = json.loads((folder / _ENDED).read_text())
    except (OSError, ValueError):
        return None
    if told.get("lapsed"):
        raise LostRunError("the container was ended: its lease was over, and its worker had gone")
    if told.get("status") in ("created", "configured"):
        return int(told["code"]) or 127
    return int(told["code"]) if "code" in told else None
