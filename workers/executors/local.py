"""What the executors of this machine share: a function is a process, under a launcher that guards it.

The launcher (see `launcher`) keeps a file in the attempt's folder locked as long as it lives; the kernel takes the lock
away however it went. So any process can tell whether a run is alive without trusting process ids or clocks.
"""

import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from workers.executors import cgroup, launch, strays, syscalls
from workers.executors.executor import Ending, Job, Outcome
from workers.executors.launcher import options
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
    """

    words: Sequence[str]
    environment: dict[str, str]


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

    def leave(self, folder: Path) -> None:
        """Remove what it made outside of the attempt's folder."""
        ...


@dataclass(frozen=True)
class _Run:
    process: "subprocess.Popen[bytes]"
    quota: Quota

    def tell(self, order: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ValueError):
            assert self.process.stdin is not None  # noqa: S101 - narrows the type
            self.process.stdin.write(order)

    def ended(self, seconds: float) -> bool:
        """Wait for the launcher's end; `Popen.wait` would look again only after a pause that grows."""
        if self.process.poll() is None:
            with _followed(self.process.pid) as ends:
                select.select(ends, [], [], seconds)
        return self.process.poll() is not None


class Local:
    """Runs functions as processes of this machine; see `executor.Executor`.

    Args:
        box: what isolates them.
        groups: where each gets a control group of its own (see `cgroup`); None for none.
    """

    def __init__(self, box: Box, groups: Path | None = None) -> None:
        self._box = box
        self._groups = groups
        self._runs: dict[Path, _Run] = {}

    def check(self) -> None:
        """See to it that functions can run here.

        Raises:
            UnfitError: they cannot.
        """
        if self._groups is not None:
            cgroup.check(self._groups)
        self._box.check()

    def build(self, function: Path, checksum: str) -> None:
        """Do nothing: a function's image is its archive, which each attempt unpacks afresh."""

    def start(self, job: Job) -> None:
        """Start a function under a launcher.

        Raises:
            OSError: it cannot be started.
        """
        entered, limits = self._box.enter(job), job.limits
        group = cgroup.make(self._groups, job.folder.name, limits.memory, limits.processes)
        # Neither preexec_fn nor threads of ours between fork and exec; the launcher sets the limits (it says why).
        with job.log.open("ab") as output, _inherited(job) as (lock, lease):
            told = options.Options(
                grace=limits.grace,
                # A group's memory is what is used; address space, where there is none, what is asked for.
                memory=0 if group else limits.memory or 0,
                file_size=limits.file_size,
                open_files=limits.open_files,
                processes=0 if group else limits.processes,
                log_size=limits.log_size,
                lease=lease,
                boxed=self._box.sealed,
                syscalls=syscalls.program().hex() if self._box.sealed else "",
                cgroup=str(group or ""),
            )
            process = subprocess.Popen(
                [sys.executable, "-IS", launch.__file__, json.dumps(told._asdict()), *entered.words],
                cwd=job.folder / "function",
                env=entered.environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[each for each in (lock, lease) if each is not None],
                bufsize=0,
            )
        folders = (job.folder / name for name in ("function", "home", "outputs"))
        self._runs[job.folder] = _Run(process, Quota(folders, limits))

    def alive(self, folder: Path) -> bool:
        """Say whether the launcher of a run is there."""
        try:
            lock = os.open(_lock(folder), os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def pause(self, folder: Path) -> None:
        """Stop the function's processes; without a lease the launcher does so by itself."""
        self._runs[folder].tell(options.PAUSE)

    def resume(self, folder: Path) -> None:
        """Continue the function's processes, if it has a lease."""
        self._runs[folder].tell(options.RESUME)

    def outcome(self, folder: Path, seconds: float) -> Outcome | None:
        """Wait for the end of a run, and look after what it keeps."""
        run = self._runs[folder]
        if not run.ended(seconds):
            excess = run.quota.look(run.process.pid)
            return Outcome(Ending.EXCEEDED, reason=excess) if excess else None
        # What it left behind counts too: it is to be kept.
        if excess := run.quota.look(None):
            return Outcome(Ending.EXCEEDED, reason=excess)
        code = run.process.returncode
        return Outcome(Ending.EXITED, code if code >= 0 else 128 - code)

    def end(self, folder: Path, grace: float) -> bool:
        """Have the launcher end all, and end what it could not."""
        run = self._runs.pop(folder, None)
        if run is None:
            self._await_end(folder, grace)
        # A launcher that was killed could end nothing.
        harmed = run is None or _ended(run, grace) < 0
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


def _ended(run: _Run, grace: float) -> int:
    """End a launcher; return its exit code."""
    with run.process as process:
        if grace <= 0:
            run.tell(options.KILL)
        assert process.stdin is not None  # noqa: S101 - narrows the type
        process.stdin.close()  # the order to end what still runs
        if not run.ended(grace + _PATIENCE_SECONDS):
            # Something froze it; a sandbox ends with it.
            log.error("launcher.hangs", pid=process.pid)
            process.kill()
    return process.returncode


def _lock(folder: Path) -> Path:
    return folder / "launcher"


@contextlib.contextmanager
def _inherited(job: Job) -> Iterator[tuple[int, int | None]]:
    """Open what a launcher inherits: the lock that it holds, and the lease that it reads."""
    with contextlib.ExitStack() as held:

        def opened(path: Path, flags: int) -> int:
            descriptor = os.open(path, flags, 0o600)
            held.callback(os.close, descriptor)
            return descriptor

        lock = opened(_lock(job.folder), os.O_RDWR | os.O_CREAT)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield lock, None if job.lease is None else opened(job.lease, os.O_RDONLY)


@contextlib.contextmanager
def _followed(pid: int) -> Iterator[list[int]]:
    """Open what becomes readable when a child ends; nothing where the kernel has no such thing."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        yield []
        return
    try:
        yield [descriptor]
    finally:
        os.close(descriptor)
