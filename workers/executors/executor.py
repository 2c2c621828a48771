"""What an executor answers: how a function is prepared, started, paused, ended, and how it ended.

There is one module for each executor beside this one (see `registry`); `watch` holds each to its promises.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

from workers.executors.image import Image

MIB, GIB = 1024**2, 1024**3
LOG = "log"
"""The name of the log in a run's folder."""


class UnfitError(RuntimeError):
    """Functions cannot run here so; the message is one line that says why and what to do."""


class Ending(Enum):
    """How a function ended."""

    EXITED = "exited"
    TIMED_OUT = "timed out"
    STOPPED = "stopped"
    EXCEEDED = "exceeded a limit"


@dataclass(frozen=True)
class Outcome:
    """The end of a function.

    Args:
        ending: by itself, by a limit, or by order.
        exit_code: of one that ended by itself; 128 + n when signal n killed it.
        reason: which limit it exceeded, a sentence.
    """

    ending: Ending
    exit_code: int = 0
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
        cpus: processors that it may use at once, in a container; None for no limit.
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
    cpus: float | None = None


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


@dataclass(frozen=True)
class Shared:
    """A path of this machine that functions see at the same place.

    Args:
        path: a file, folder or device.
        writable: whether they may write to it; what one function writes there, another reads.
    """

    path: Path
    writable: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `/a/path`, or `/a/path:rw`.

        Raises:
            ValueError: the path is not absolute, or all of the machine.
        """
        path = Path(text.removesuffix(":rw"))
        if not path.is_absolute() or path == Path("/"):
            raise ValueError(f"{text!r} is no absolute path below /, with or without :rw after it")
        return cls(path, text.endswith(":rw"))


HERE = "\0"
"""Stands for the function's folder in a variable's value, where it can stand for nothing else."""


@dataclass(frozen=True)
class Environment:
    """The Python and the variables that a function has.

    Args:
        folder: a virtual environment, which the function may only read; None for the worker's own Python.
        bases: folders of the Python that the environment was made from.
        variables: that it sees besides those of the executor, which come first; `HERE` stands for its folder.
        path: folders of programs in its own, relative to it.
    """

    folder: Path | None = None
    bases: tuple[Path, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    path: tuple[str, ...] = ()

    def seen(self, here: Path) -> dict[str, str]:
        """Return the variables as a function sees them.

        Args:
            here: its folder, as it sees that.
        """
        return {name: value.replace(HERE, str(here)) for name, value in self.variables.items()}

    def programs(self, here: Path, python: Path) -> str:
        """Return the function's PATH.

        Args:
            here: its folder, as it sees that.
            python: the folder of the worker's own Python's program.
        """
        own = python if self.folder is None else self.folder / "bin"
        return os.pathsep.join((str(own), *(str(here / each) for each in self.path), os.defpath))


@dataclass(frozen=True)
class Job:
    """What is to run.

    Args:
        folder: of the attempt, with the folders `function` (unpacked: where it runs), `home` (its HOME and TMPDIR),
            `inputs` and `outputs`. Its name is the run's, and like no other's.
        command: the function's ENTRYPOINT, or that of a container step.
        told: whether the file of arguments is one word more, `@<file>` (see `arguments`); a container step has all of
            its words in its command.
        limits: what it may use.
        rank: of the task.
        inputs: what it reads; they may lie outside the folder.
        outputs: files that it is to write, in `outputs`.
        network: whether it may use the network.
        lease: a file; the function may run until its time of modification (see `lease`). None: without end.
        prepared: the name that the folder had when the executor prepared something in it (see `Preparing`).
        environment: what it has of Python, for an executor that is `Hosting`; its variables count for all.
        paths: of this machine that it sees besides, where it is isolated.
        variables: that it sees besides those of its environment, and this attempt alone, as `TRACEPARENT`.
        image: what it has as its root, for an executor that is `Imaging`.
        devices: whether it gets the devices that the settings name, as GPUs.
        about: what others may know it by: labels of few letters.
    """

    folder: Path
    command: Sequence[str]
    limits: Limits
    rank: int = 0
    inputs: Sequence[Resource] = ()
    outputs: Sequence[Resource] = ()
    network: bool = False
    lease: Path | None = None
    prepared: Path | None = None
    environment: Environment = Environment()
    paths: Sequence[Shared] = ()
    told: bool = True
    variables: Mapping[str, str] = field(default_factory=dict)
    image: Image | None = None
    devices: bool = False
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """The file to which all is appended that the function says."""
        return self.folder / LOG


class Executor(Protocol):
    """How functions run. A run is known by its attempt's folder.

    The process that starts a run pauses it, resumes it and asks for its outcome. Whether it is alive, and its end, may
    be asked for by each process of the node, also after a restart of the worker: whatever they need must be found from
    the folder, or by its name.
    """

    def check(self) -> None:
        """See to it that functions can run here, before a worker takes any.

        Raises:
            UnfitError: they cannot.
        """
        ...

    def start(self, job: Job) -> None:
        """Start a function with its limits, and return at once.

        It sees nothing of the worker's environment. It does not outlive its worker unguarded: without a process of the
        node that calls `pause`, it may not run on when its lease is over.

        Raises:
            OSError: it cannot be started, and that is not the function's fault.
        """
        ...

    def alive(self, folder: Path) -> bool:
        """Say whether anything of a run is left that may still go on. A paused function is alive."""
        ...

    def pause(self, folder: Path) -> None:
        """Have nothing of a run go on, until it is resumed. One that has ended meanwhile is no fault."""
        ...

    def resume(self, folder: Path) -> None:
        """Let a paused run go on."""
        ...

    def outcome(self, folder: Path, seconds: float) -> Outcome | None:
        """Wait for the end of a run, and return it.

        Args:
            folder: of the attempt.
            seconds: to wait at most; an end within them is answered at once.

        Returns:
            None while it runs. `EXITED`: all that it said is in its log, cut to its limit. `EXCEEDED`: it kept more
            than it may, and may still run.
        """
        ...

    def end(self, folder: Path, grace: float) -> bool:
        """End all that a run started, and remove what is kept for it; also when it has ended, or never began.

        Args:
            folder: of the attempt; it is left.
            grace: seconds from TERM to KILL; 0 kills at once, and so does a lease that is over.

        Returns:
            Whether nothing of it is left.
        """
        ...


@runtime_checkable
class Hosting(Protocol):
    """An executor whose functions run without an image: with a Python of this machine (see `Job.environment`)."""

    hosts: bool


@runtime_checkable
class Preparing(Protocol):
    """An executor that can prepare a run before anything of it is known."""

    def prepare(self, folder: Path, limits: Limits) -> bool:
        """Prepare a run; nothing of any function is in what is prepared.

        Args:
            folder: of that run, with the folders that a job's has, empty; `Job.prepared` tells it again.
            limits: of that run; its time does not count.

        Returns:
            Whether anything was prepared; `Executor.end` ends it too.

        Raises:
            OSError: it cannot be prepared.
        """
        ...

    def prepared(self, folder: Path, seconds: float) -> bool:
        """Wait for what is prepared in a folder; say whether it is there. From then on the folder may be renamed.

        Args:
            folder: the run's.
            seconds: to wait at most.
        """
        ...
