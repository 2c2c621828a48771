"""Runs one function by any executor to its end, within its lease and its time limit, and ends all that it started."""

import time
from pathlib import Path
from typing import Protocol

import structlog

from workers.executors.executor import Ending, Executor, Job, Outcome
from workers.executors.lease import left

log = structlog.get_logger()

_POLL_SECONDS = 0.05


class Stop(Protocol):
    """What can order a function to end; a `threading.Event` can."""

    def is_set(self) -> bool:
        """Say whether it is to end."""
        ...


def run(executor: Executor, job: Job, stop: Stop) -> Outcome:
    """Run a function to its end, and end all that it started.

    Args:
        executor: how.
        job: what.
        stop: ends it when it says so.

    Raises:
        OSError: it cannot be run here.
    """
    outcome = Outcome(Ending.STOPPED)
    try:
        executor.start(job)
        outcome = _watch(executor, job, stop)
    finally:
        # What exceeds a limit goes on doing so while it is asked to end.
        grace = 0.0 if outcome.ending is Ending.EXCEEDED else job.limits.grace
        if not executor.end(job.folder, grace):
            log.error("function.not_ended", folder=job.folder.name)
    return outcome


def _watch(executor: Executor, job: Job, stop: Stop) -> Outcome:
    pause = _Pause(executor, job.folder)
    deadline = time.monotonic() + job.limits.time
    while True:
        seconds = max(0.0, min(deadline - time.monotonic(), _POLL_SECONDS))
        if (outcome := executor.outcome(job.folder, seconds)) is not None:
            return outcome
        deadline += pause.look(left(job.lease) <= 0)
        if time.monotonic() >= deadline:
            return Outcome(Ending.TIMED_OUT)
        if stop.is_set():
            return Outcome(Ending.STOPPED)


class _Pause:
    """Keeps a function from running without a lease."""

    def __init__(self, executor: Executor, folder: Path) -> None:
        self._executor = executor
        self._folder = folder
        self._looked = time.monotonic()
        self._begun: float | None = None

    def look(self, over: bool) -> float:
        """Say for how many seconds, since the last look, the function was paused.

        Args:
            over: whether the lease is.
        """
        since, self._looked = self._looked, time.monotonic()
        if over and self._begun is None:
            self._begun = self._looked
            self._executor.pause(self._folder)
            log.warning("function.paused", reason="its lease is over, and the orchestrator cannot be asked")
        elif not over and self._begun is not None:
            self._executor.resume(self._folder)
            log.info("function.resumed", seconds=round(self._looked - self._begun, 3))
            self._begun = None
        return self._looked - since if over else 0.0
