"""Runs one function by any executor to its end, within its lease and its time limit, and ends all that it started."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from orchestrator.core import crash
from workers.executors.executor import Ending, Executor, Job, Outcome
from workers.executors.lasting import Lasting, LostRunError
from workers.executors.lease import left

Said = TypeVar("Said")

log = structlog.get_logger()

_POLL_SECONDS = 0.05


class Stop(Protocol):
    """What can order a function to end; a `threading.Event` can."""

    def is_set(self) -> bool:
        """Say whether it is to end."""
        ...


class Notes(Protocol):
    """What takes down how a run gets on, for another process that may have to go on with it."""

    def paused(self, seconds: float) -> None:
        """Note that it was paused for some seconds."""
        ...

    def ended(self, outcome: Outcome) -> None:
        """Note how it has ended; what is left of it is removed after that."""
        ...


def run(executor: Executor, job: Job, stop: Stop, notes: Notes | None = None) -> Outcome:
    """Run a function to its end, and end all that it started.

    Args:
        executor: how.
        job: what.
        stop: ends it when it says so.
        notes: where it is noted how it gets on; None where nobody could go on with it.

    Raises:
        OSError: it cannot be run here.
    """
    outcome = Outcome(Ending.STOPPED)
    try:
        executor.start(job)
        outcome = _watch(executor, job, stop, job.limits.time, notes)
    finally:
        _end(executor, job, outcome)
    return outcome


def go_on(executor: Lasting, job: Job, stop: Stop, notes: Notes, seconds: float) -> Outcome:
    """Go on with a function that another process has started, to its end, and end all that it started.

    Args:
        executor: how it runs.
        job: what; its folder, limits and lease count.
        stop: ends it when it says so.
        notes: where it is noted how it gets on.
        seconds: that it may still run.

    Raises:
        LostRunError: there is nothing to go on with.
        OSError: its executor cannot say.
    """
    if not executor.take_over(job):
        raise LostRunError(f"nothing is left of the run in {job.folder.name}, or nobody knows how it ended")
    outcome = Outcome(Ending.STOPPED)
    try:
        outcome = _watch(executor, job, stop, seconds, notes)
    finally:
        _end(executor, job, outcome)
    return outcome


def _end(executor: Executor, job: Job, outcome: Outcome) -> None:
    # What exceeds a limit goes on doing so while it is asked to end.
    grace = 0.0 if outcome.ending is Ending.EXCEEDED else job.limits.grace
    if not executor.end(job.folder, grace):
        log.error("function.not_ended", folder=job.folder.name)


def _watch(executor: Executor, job: Job, stop: Stop, limit: float, notes: Notes | None) -> Outcome:
    pause = _Pause(executor, job.folder, notes)
    deadline = time.monotonic() + limit
    while True:
        seconds = max(0.0, min(deadline - time.monotonic(), _POLL_SECONDS))
        if (outcome := executor.outcome(job.folder, seconds)) is None:
            deadline += pause.look(left(job.lease) <= 0)
            if time.monotonic() >= deadline:
                outcome = Outcome(Ending.TIMED_OUT)
        if outcome is not None:
            if notes is not None:
                _note(notes.ended, outcome)
                crash.point("worker.ended")
            return outcome
        if stop.is_set():
            return Outcome(Ending.STOPPED)


def _note(write: Callable[[Said], None], said: Said) -> None:
    try:
        write(said)
    except (OSError, ValueError) as error:
        # As on a full disk. A run is not worth less because nobody else could go on with it.
        log.warning("run.not_noted", reason=str(error))


class _Pause:
    """Keeps a function from running without a lease."""

    def __init__(self, executor: Executor, folder: Path, notes: Notes | None) -> None:
        self._executor = executor
        self._folder = folder
        self._notes = notes
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
            if (notes := self._notes) is not None:
                _note(notes.paused, self._looked - self._begun)
            self._begun = None
        return self._looked - since if over else 0.0
