"""Runs a function's command in a process of its own, with limits and a clean environment, in a sandbox or without.

Without a sandbox the function runs as the worker's user does: nothing is kept secret from it, and it can do to the
worker what that user can. Run only functions that you trust so.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

import structlog

from workers import processes
from workers.executors import cgroup, launch, quota, syscalls

log = structlog.get_logger()

_POLL_SECONDS = 0.05
# What a launcher takes to kill and clean up all that a function started.
_PATIENCE_SECONDS = 10.0
# A path in a socket's address has 107 bytes, of which Python's multiprocessing takes 33 for its own names.
_LONG_PATH = 70
_SHORT = Path("/tmp")  # noqa: S108 - for a link with a name that nobody can guess
MIB, GIB = 1024**2, 1024**3


class Ending(Enum):
    """How a command ended."""

    EXITED = "exited"
    TIMED_OUT = "timed out"
    STOPPED = "stopped"
    EXCEEDED = "exceeded a limit"


@dataclass(frozen=True)
class Outcome:
    """The end of a command.

    Args:
        ending: by itself, by a limit, or by order.
        exit_code: 128 + n when signal n killed it.
        reason: which limit it exceeded, a sentence.
    """

    ending: Ending
    exit_code: int
    reason: str = ""


@dataclass(frozen=True)
class Limits:
    """What a function may use.

    Args:
        time: seconds until TERM, without those of pauses.
        grace: seconds from TERM to KILL.
        memory: bytes of address space of each process, in a control group bytes of all together; None for no limit.
        file_size: bytes of each file that it writes.
        folder_size: bytes of all that it keeps in its folders.
        folder_files: files and folders in them.
        processes: that run at once, each thread counted.
        open_files: of each process.
        log_size: bytes of its log that are kept.
        cgroup: where a control group of its own is made (see `cgroup`); None for none.
    """

    time: float
    grace: float
    memory: int | None
    file_size: int
    folder_size: int = 50 * GIB
    folder_files: int = 1_000_000
    processes: int = 4096
    open_files: int = 65_536
    log_size: int = 64 * MIB
    cgroup: Path | None = None


@dataclass(frozen=True)
class Resource:
    """An input or output as the function gets it.

    Args:
        identifier: the name that the function declares.
        path: a file or folder.
        multiple: whether the function gets a list.
    """

    identifier: str
    path: Path
    multiple: bool


class Box(Protocol):
    """What isolates a function; see `sandbox.Sandbox`."""

    def environment(self) -> dict[str, str]:
        """Return all that the function sees of the environment."""
        ...

    def wrap(self, command: Sequence[str]) -> list[str]:
        """Return the command line that runs another one in it."""
        ...


class Stop(Protocol):
    """What can order a command to end; a `threading.Event` can."""

    def wait(self, timeout: float, /) -> bool:
        """Wait so many seconds at most; say whether the command is to end."""
        ...


def write_arguments(path: Path, rank: int, inputs: Sequence[Resource], outputs: Sequence[Resource]) -> None:
    """Write the file that the command gets as `@<file>`: one argument a line, as substratools reads it."""
    lines = (
        "--task-properties",
        json.dumps({"rank": rank}),
        "--inputs",
        _listed(inputs),
        "--outputs",
        _listed(outputs),
    )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def run(
    command: Sequence[str],
    folder: Path,
    home: Path,
    log: Path,
    limits: Limits,
    stop: Stop,
    lock: int | None = None,
    box: Box | None = None,
) -> Outcome:
    """Run a command to its end, and end all that it started.

    Args:
        command: the ENTRYPOINT and its arguments.
        folder: the unpacked function, the working directory.
        home: a folder for the function's own files (HOME, TMPDIR), of no other.
        log: a file; stdout and stderr are appended.
        limits: what it may use; its folders are these two and `outputs` beside `home`.
        stop: ends the command when it says so.
        lock: a descriptor that the launcher inherits, so that it stays open until the command has ended, also
            when this process is killed; it tells the lease, without which the command is paused (see `launch.left`).
        box: isolates the command; without, it sees and may do what this user can.
    """
    short = short_home(home)
    if box is None:
        environment, words = _environment(home, short), command
    else:
        environment, words = box.environment(), box.wrap(command)
    watched = quota.Quota((folder, home, home.with_name("outputs")), limits)
    # Neither preexec_fn nor threads of ours between fork and exec; the launcher sets the limits (it says why).
    with (
        cgroup.group(limits.cgroup, home.parent.name, limits.memory, limits.processes) as group,
        log.open("ab") as output,
        subprocess.Popen(
            [sys.executable, "-IS", launch.__file__, _options(limits, lock, box, group), *words],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=() if lock is None else (lock,),
        ) as process,
    ):
        assert process.stdin is not None  # noqa: S101 - narrows the type
        ending, reason = Ending.STOPPED, ""
        try:
            ending, reason = _watch(process, stop, limits.time, lock, watched)
        finally:
            with contextlib.suppress(BrokenPipeError):
                if ending is Ending.EXCEEDED:
                    process.stdin.write(launch.KILL)
                process.stdin.close()  # the order to end what still runs
            _insist(process, limits.grace)
    code = process.returncode
    if code < 0:
        # The launcher was killed, and could end nothing.
        processes.end_strays(home)
    short.unlink(missing_ok=True)
    return Outcome(ending, code if code >= 0 else 128 - code, reason)


def _options(limits: Limits, lock: int | None, box: Box | None, group: Path | None) -> str:
    options = launch.Options(
        grace=limits.grace,
        # A group's memory is what is used; address space, where there is none, what is asked for.
        memory=0 if group else limits.memory or 0,
        file_size=limits.file_size,
        open_files=limits.open_files,
        processes=0 if group else limits.processes,
        log_size=limits.log_size,
        lease=lock,
        boxed=box is not None,
        syscalls=syscalls.program().hex() if box is not None else "",
        cgroup=str(group or ""),
    )
    return json.dumps(dataclasses.asdict(options))


def _watch(
    process: "subprocess.Popen[bytes]", stop: Stop, seconds: float, lock: int | None, watched: quota.Quota
) -> tuple[Ending, str]:
    pause = _Pause()
    deadline = time.monotonic() + seconds
    while process.poll() is None:
        deadline += pause.look(launch.left(lock) <= 0)
        left = deadline - time.monotonic()
        if left <= 0:
            return Ending.TIMED_OUT, ""
        if excess := watched.look(process.pid):
            return Ending.EXCEEDED, excess
        if stop.wait(min(left, _POLL_SECONDS)):
            return Ending.STOPPED, ""
    # What it left behind counts too: it is to be kept.
    excess = watched.look(None)
    return (Ending.EXCEEDED, excess) if excess else (Ending.EXITED, "")


def _insist(process: "subprocess.Popen[bytes]", grace: float) -> None:
    try:
        process.wait(grace + _PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        # Something froze it; a sandbox ends with it.
        log.error("launcher.hangs", pid=process.pid)
        process.kill()


class _Pause:
    """What is to be known here of the launcher's pauses."""

    def __init__(self) -> None:
        self._looked = time.monotonic()
        self._begun: float | None = None

    def look(self, lease_over: bool) -> float:
        """Say for how many seconds, since the last look, the command was paused."""
        since, self._looked = self._looked, time.monotonic()
        if lease_over and self._begun is None:
            self._begun = self._looked
            log.warning("function.paused", reason="its lease is over, and the orchestrator cannot be asked")
        elif not lease_over and self._begun is not None:
            log.info("function.resumed", seconds=round(self._looked - self._begun, 3))
            self._begun = None
        return self._looked - since if lease_over else 0.0


def _listed(resources: Sequence[Resource]) -> str:
    # ensure_ascii would write \u escapes, whose backslash substratools turns into a slash.
    return json.dumps(
        [
            {"id": resource.identifier, "value": str(resource.path), "multiple": resource.multiple}
            for resource in resources
        ],
        ensure_ascii=False,
    )


def short_home(home: Path) -> Path:
    """Return the link by which a function without a sandbox finds its temporary files; it may be left by the killed."""
    return _SHORT / f"home-{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}"


def _environment(home: Path, short: Path) -> dict[str, str]:
    """Return all that the function may see of the environment: nothing of the worker's."""
    interpreter = Path(sys.executable).parent
    temporary = home
    if len(os.fsencode(home)) > _LONG_PATH:
        with contextlib.suppress(OSError):
            short.symlink_to(home)
            temporary = short
    return {
        "PATH": os.pathsep.join((str(interpreter), os.defpath)),
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
