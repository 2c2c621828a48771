"""What the executors of this machine share: a function is a process, under a launcher that guards it.

The launcher (see `launcher`) keeps a file in the attempt's folder locked as long as it lives; the kernel takes the lock
away however it went. So any process can tell whether a run is alive without trusting process ids or clocks.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import structlog

from workers.executors import cgroup, locks, strays, syscalls
from workers.executors.executor import LOG, Ending, Environment, Job, Limits, Outcome
from workers.executors.launcher import options
from workers.executors.launching import ForkServer, Launched
from workers.executors.quota import Quota

log = structlog.get_logger()

# What a launcher takes to kill and reap all that a function started.
_PATIENCE_SECONDS = 10.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Entered:
    """A function's command as it is started in a box.

    Args:
        words: of the command line.
        environment: all that it sees of one.
        inside: the function's own words, for a box that waits for them; empty where it needs a box of its own. Where
            one was prepared, the others may be empty.
    """

    words: Sequence[str]
    environment: dict[str, str]
    inside: Sequence[str] = ()


class Box(Protocol):
    """What isolates a function from this machine, or does not."""

    @property
    def sealed(self) -> bool:
        """Whether the command line is bubblewrap's."""
        ...

    def check(self) -> None:
        """See to it that it can be had.

        Raises:
            UnfitError: it cannot.
        """
        ...

    def enter(self, job: Job) -> Entered:
        """Write a function's arguments, with its paths as it sees them there; return how it is started.

        Raises:
            OSError: they cannot be written.
        """
        ...

    def wait(self, folder: Path, environment: Environment) -> Entered | None:
        """Return how a box is started in which something waits for the words of a function.

        Args:
            folder: of an attempt to come; it may have another name by then.
            environment: of its function, if that has the same as the one before.

        Returns:
            None where there is no such box.

        Raises:
            OSError: it cannot be prepared.
        """
        ...

    def leave(self, folder: Path) -> None:
        """Remove what it made outside of the attempt's folder."""
        ...


@dataclass(frozen=True)
class _Run:
    launcher: Launched
    limits: Limits
    quota: Quota
    had: tuple[Environment, int]


class Local:
    """Runs functions as processes of this machine; see `executor.Executor`.

    Args:
        box: what isolates them.
        groups: where each gets a control group of its own (see `cgroup`); None for none.
    """

    hosts = True

    def __init__(self, box: Box, groups: Path | None = None) -> None:
        self._box = box
        self._groups = groups
        self._runs: dict[Path, _Run] = {}
        self._server = ForkServer()
        # One task after another is of the same function, mostly.
        self._environment = Environment()

    def check(self) -> None:
        """See to it that functions can run here.

        Raises:
            UnfitError: they cannot.
        """
        if self._groups is not None:
            cgroup.check(self._groups)
        self._box.check()

    def prepare(self, folder: Path, limits: Limits) -> bool:
        """Set up a box ahead, in which nothing of any function is, for the run that will have its folder.

        Args:
            folder: of that run, empty; it may get another name meanwhile, see `Job.prepared`.
            limits: of that run; its time does not count.

        Returns:
            Whether there is one; `end` ends it too.

        Raises:
            OSError: it cannot be started.
        """
        # A control group has the name of its run.
        had = _had(self._environment)
        entered = self._box.wait(folder, had[0]) if self._groups is None else None
        if entered is None:
            return False
        launched = self._launch(folder, limits, entered, waits=True)
        self._runs[folder] = _Run(launched, limits, _quota(folder, limits), had)
        return True

    def prepared(self, folder: Path, seconds: float) -> bool:
        """Wait until something waits in a box; say whether it does."""
        return self._runs[folder].launcher.waits(seconds)

    def start(self, job: Job) -> None:
        """Start a function under a launcher: in the box that was prepared in its folder, if it may run in that one.

        Raises:
            OSError: it cannot be started.
        """
        entered, launched = self._box.enter(job), None
        prepared = self._runs.pop(job.prepared, None) if job.prepared else None
        self._environment = job.environment
        had = _had(job.environment)
        if prepared is not None:
            same = replace(prepared.limits, time=job.limits.time) == job.limits and prepared.had == had
            if same and entered.inside and prepared.launcher.waits(0):
                launched = prepared.launcher
                with _opened(job.lease) as lease:
                    launched.start(entered.inside, lease)
            else:
                _ended(prepared.launcher, 0)
        if launched is None:
            afresh = entered if job.prepared is None else self._box.enter(replace(job, prepared=None))
            launched = self._launch(job.folder, job.limits, afresh, job.lease)
        self._runs[job.folder] = _Run(launched, job.limits, _quota(job.folder, job.limits), had)

    def _launch(
        self, folder: Path, limits: Limits, entered: Entered, lease: Path | None = None, *, waits: bool = False
    ) -> Launched:
        group = cgroup.make(self._groups, folder.name, limits.memory, limits.processes)
        told = options.Options(
            grace=limits.grace,
            # A group's memory is what is used; address space, where there is none, what is asked for.
            memory=0 if group else limits.memory or 0,
            file_size=limits.file_size,
            open_files=limits.open_files,
            processes=0 if group else limits.processes,
            log_size=limits.log_size,
            boxed=self._box.sealed,
            syscalls=syscalls.program().hex() if self._box.sealed else "",
            cgroup=str(group or ""),
            waits=waits,
        )
        with (folder / LOG).open("ab") as output, _locked(folder) as lock, _opened(lease) as read:
            inherited = [output.fileno(), lock, *([] if read is None else [read])]
            return self._server.launch(folder / "function", told, entered.words, entered.environment, *inherited)

    def alive(self, folder: Path) -> bool:
        """Say whether the launcher of a run is there."""
        return locks.is_held(_lock(folder))

    def pause(self, folder: Path) -> None:
        """Stop the function's processes; without a lease the launcher does so by itself."""
        self._runs[folder].launcher.tell(options.PAUSE)

    def resume(self, folder: Path) -> None:
        """Continue the function's processes, if it has a lease."""
        self._runs[folder].launcher.tell(options.RESUME)

    def outcome(self, folder: Path, seconds: float) -> Outcome | None:
        """Wait for the end of a run, and look after what it keeps."""
        run = self._runs[folder]
        if not run.launcher.ended(seconds):
            excess = run.quota.look(run.launcher.pid)
            return Outcome(Ending.EXCEEDED, reason=excess) if excess else None
        # What it left behind counts too: it is to be kept.
        if excess := run.quota.last():
            return Outcome(Ending.EXCEEDED, reason=excess)
        code = run.launcher.code or 0
        return Outcome(Ending.EXITED, code if code >= 0 else 128 - code)

    def end(self, folder: Path, grace: float) -> bool:
        """Have the launcher end all, and end what it could not."""
        run = self._runs.pop(folder, None)
        if run is None:
            self._await_end(folder, grace)
        # A launcher that was killed could end nothing.
        harmed = run is None or _ended(run.launcher, grace) < 0
        ended = cgroup.end(self._groups, folder.name)
        if harmed:
            ended = strays.end(folder / "home") and ended
        self._box.leave(folder)
        return ended

    def _await_end(self, folder: Path, grace: float) -> None:
        """Wait for a launcher that another process started: if that is gone, the launcher ends by itself."""
        deadline = time.monotonic() + grace + _PATIENCE_SECONDS
        while self.alive(folder) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)


def _ended(launcher: Launched, grace: float) -> int:
    """End a launcher; return its exit code."""
    with contextlib.closing(launcher):
        if grace <= 0:
            launcher.tell(options.KILL)
        launcher.end()
        if not launcher.ended(grace + _PATIENCE_SECONDS):
            # Something froze it; a sandbox ends with it.
            log.error("launcher.hangs", pid=launcher.pid)
            launcher.kill()
            launcher.ended(_PATIENCE_SECONDS)
    return -1 if launcher.code is None else launcher.code


def _lock(folder: Path) -> Path:
    return folder / "launcher"


def _had(environment: Environment) -> tuple[Environment, int]:
    """Return an environment, and which folder it is now: one that is made anew is another; the worker's when gone."""
    if environment.folder is None:
        return environment, 0
    try:
        return environment, environment.folder.stat().st_ino
    except FileNotFoundError:
        return Environment(), 0


def _quota(folder: Path, limits: Limits) -> Quota:
    return Quota((folder / name for name in ("function", "home", "outputs")), limits)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Take the lock that the launcher of a run holds."""
    lock = os.open(_lock(folder), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield lock
    finally:
        os.close(lock)


@contextlib.contextmanager
def _opened(lease: Path | None) -> Iterator[int | None]:
    if lease is None:
        yield None
        return
    descriptor = os.open(lease, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
