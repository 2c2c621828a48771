"""The executor `container`: a function runs in a container of its own, made by podman or docker of this machine.

It has no network, no capability and a root that nobody can write to; it sees its inputs read-only, and may write to its
outputs and its temporary files. A guard (see `launcher.guard`) keeps it within its lease, also without a worker.
"""

import csv
import io
import resource
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil
from os import getgid, getuid
from pathlib import Path

import structlog

from workers.executors import arguments, guarding
from workers.executors.engine import Engine, EngineError, State
from workers.executors.executor import Ending, Executor, Job, Limits, Outcome, Shared
from workers.executors.guarding import Guarding
from workers.executors.image import Image, Waiting
from workers.executors.image_store import ImageStore
from workers.executors.lease import left
from workers.executors.places import ARGUMENTS, FUNCTION, HOME, INPUTS, OUTPUTS, placed
from workers.executors.quota import Quota
from workers.settings import WorkerSettings

log = structlog.get_logger()

NODE = "orchestrator.node"
"""The label that says which node has started a container."""
FOLDER = "orchestrator.folder"
"""The label that says where its attempt's folder was."""

_PATIENCE_SECONDS = 30.0
# What podman has itself, and gives where nothing is said; what counts is the control group's limit.
_MOST_PROCESSES = 32_768
_STARTED = "container"


@dataclass
class _Run:
    guard: Guarding
    job: Job
    quota: Quota
    pid: int | None = None


class Containers:
    """Runs functions in containers; see `executor.Executor` and `image.Building`.

    Args:
        settings: the worker's.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._engine = Engine(settings.container_engine)
        self._node = f"{settings.organization}@{settings.node}"
        self._shared = tuple(Shared.parse(path) for path in settings.sandbox_paths)
        self._images = ImageStore(settings, self._engine)
        self._runs: dict[Path, _Run] = {}

    def check(self) -> None:
        """See to it that the engine is there, and end what this node has left whose folder is gone.

        Raises:
            UnfitError: it is not there.
        """
        self._engine.check()
        try:
            self._remove_orphans()
            self._images.shrink()
        except OSError as error:
            log.warning("containers.not_cleaned", reason=str(error))

    def build(self, function: Path, checksum: str, bases: Iterable[str], network: bool, waiting: Waiting) -> Image:
        """Build the image of a function, or find it."""
        return self._images.build(function, checksum, bases, network, waiting)

    def fetch(self, name: str, waiting: Waiting) -> Image:
        """Pull an image, or find it."""
        return self._images.fetch(name, waiting)

    def start(self, job: Job) -> None:
        """Make a container, and start it under a guard.

        Raises:
            OSError: it cannot be made.
        """
        if job.image is None:
            raise EngineError("a run in a container needs an image")
        # By it others know that there may be one.
        (job.folder / _STARTED).touch()
        self._engine.ask("create", *self._words(job))
        guard = Guarding(self._engine.words, self._engine.environment, _name(job.folder), job)
        folders = (job.folder / each for each in ("function", "home", "outputs"))
        self._runs[job.folder] = _Run(guard, job, Quota(folders, job.limits))

    def alive(self, folder: Path) -> bool:
        """Say whether the guard is there, or else the container goes on without it."""
        if guarding.lives(folder):
            return True
        if not (folder / _STARTED).exists():
            return False
        try:
            state = self._engine.state(_name(folder))
        except EngineError as error:
            log.error("container.unknown", folder=folder.name, reason=str(error))
            return True
        return state is not None and state.goes_on

    def pause(self, folder: Path) -> None:
        """Freeze the container; kill it where that cannot be done."""
        try:
            self._engine.ask("pause", _name(folder))
        except EngineError as error:
            state = self._state(folder)
            if state is None or state.status == "running":
                log.error("container.not_paused", folder=folder.name, reason=str(error))
                self._tell(folder, "kill", "--signal=KILL")

    def resume(self, folder: Path) -> None:
        """Let the container go on; its guard may have done so."""
        self._tell(folder, "unpause")

    def outcome(self, folder: Path, seconds: float) -> Outcome | None:
        """Wait for the end of the container, and look after what it keeps.

        Raises:
            OSError: its guard has gone, or the engine lost it.
        """
        run = self._runs[folder]
        if not run.guard.wait(seconds):
            excess = run.quota.look(self._first(run))
            return Outcome(Ending.EXCEEDED, reason=excess) if excess else None
        if excess := run.quota.last():
            return Outcome(Ending.EXCEEDED, reason=excess)
        code = guarding.ended(folder)
        if code is None:
            raise EngineError("the container has gone without an exit code: the engine or its guard was ended")
        return Outcome(Ending.EXITED, code)

    def end(self, folder: Path, grace: float) -> bool:
        """End the container as a whole, and remove it."""
        run = self._runs.pop(folder, None)
        if not (folder / _STARTED).exists():
            return True
        try:
            # Its guard is to know that it did not end by itself.
            (folder / guarding.ENDING).touch()
            self._ask_to_end(folder, 0.0 if run is not None and left(run.job.lease) <= 0 else grace)
            gone = self._remove(_name(folder))
        except OSError as error:
            log.error("container.not_ended", folder=folder.name, reason=str(error))
            gone = False
        if gone and not guarding.await_end(folder, _PATIENCE_SECONDS):
            log.error("guard.hangs", folder=folder.name)
            guarding.kill(folder)
            guarding.await_end(folder, _PATIENCE_SECONDS)
        if run is not None:
            run.guard.wait(0.0)
            run.guard.close()
        return gone and not guarding.lives(folder)

    def _ask_to_end(self, folder: Path, grace: float) -> None:
        """Send TERM, and wait; not to one that is paused, which may not run on to hear it."""
        state = self._engine.state(_name(folder)) if grace > 0 else None
        if state is None or state.status != "running":
            return
        self._tell(folder, "stop", f"--time={ceil(grace)}")

    def _remove(self, name: str) -> bool:
        """Kill and remove a container; say whether it is gone.

        Raises:
            EngineError: that is not known.
        """
        if not self._engine.named(f"name=^{name}$"):
            return True
        try:
            self._engine.ask("rm", "--force", "--volumes", name)
        except EngineError as error:
            log.warning("container.not_removed", container=name, reason=str(error))
        return not self._engine.named(f"name=^{name}$")

    def _remove_orphans(self) -> None:
        form = f'{{{{index .Config.Labels "{FOLDER}"}}}}'
        for name in self._engine.named(f"label={NODE}={self._node}"):
            folder = self._engine.ask("container", "inspect", f"--format={form}", name).strip()
            if not Path(folder).exists() and self._remove(name):
                log.warning("container.removed", container=name, reason="its attempt's folder is gone")

    def _first(self, run: _Run) -> int | None:
        """Return the container's first process, as this machine sees it; None where it cannot be told."""
        if run.pid is None:
            state = self._state(run.job.folder)
            run.pid = state.pid if state is not None and state.pid else None
        return run.pid

    def _state(self, folder: Path) -> State | None:
        try:
            return self._engine.state(_name(folder))
        except EngineError:
            return None

    def _tell(self, folder: Path, *words: str) -> None:
        """Tell the engine what a container is to do that may have ended meanwhile."""
        try:
            self._engine.ask(*words, _name(folder), seconds=_PATIENCE_SECONDS + self._settings.task_kill_grace)
        except EngineError as error:
            log.debug("container.not_told", order=words[0], folder=folder.name, reason=str(error))

    def _words(self, job: Job) -> list[str]:
        """Return the words that make a container.

        Raises:
            OSError: a file for it cannot be written.
        """
        assert job.image is not None  # noqa: S101 - narrows the type
        own = (
            ["--read-only-tmpfs=false", "--http-proxy=false", "--image-volume=ignore"] if self._engine.is_podman else []
        )
        network = [f"--network={self._settings.container_network}"] if self._settings.container_network else []
        bound, seen = placed(job.folder, [*job.inputs, *job.outputs])
        words = [*job.command]
        mounts = [_mount(job.folder / "home", HOME, writable=True)]
        mounts += [_mount(job.folder / "inputs", INPUTS), _mount(job.folder / "outputs", OUTPUTS, writable=True)]
        if job.told:
            given = len(job.inputs)
            arguments.write(job.folder / "arguments", job.rank, seen[:given], seen[given:])
            mounts.append(_mount(job.folder / "arguments", ARGUMENTS))
            words.append(f"@{ARGUMENTS}")
        mounts += [_mount(source, target) for source, target in bound.items()]
        place = []
        if not job.image.whole:
            mounts.append(_mount(job.folder / "function", FUNCTION, writable=True))
            place = [f"--workdir={FUNCTION}"]
        entry = [] if job.image.entered or not words else [f"--entrypoint={words.pop(0)}"]
        return [
            f"--name={_name(job.folder)}",
            *(f"--label={name}={value}" for name, value in self._labels(job).items()),
            *("--init", "--pull=never", "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges"),
            *("--security-opt=label=disable", "--ipc=private", "--hostname=function", "--log-driver=none"),
            *("--stop-signal=TERM", "--stop-timeout=0", f"--shm-size={self._settings.sandbox_shared_memory}"),
            *own,
            *self._user(),
            *(network if job.network else ["--network=none"]),
            *_limits(job.limits),
            *(f"--env={name}={value}" for name, value in _environment(job).items()),
            *mounts,
            *(word for each in (*self._shared, *job.paths) for word in _lend(each)),
            *(f"--device={device}" for device in (self._settings.task_devices if job.devices else ())),
            *place,
            *entry,
            job.image.name,
            *words,
        ]

    def _labels(self, job: Job) -> dict[str, str]:
        about = {f"orchestrator.{name}": value for name, value in job.about.items()}
        return {NODE: self._node, FOLDER: str(job.folder), **about}

    def _user(self) -> list[str]:
        """Return as whom a function runs: as the worker's user, to whom what it writes belongs."""
        if not self._engine.is_rootless:
            return [f"--user={getuid()}:{getgid()}"]
        # In a user namespace of its own.
        return [f"--user={getuid()}:{getgid()}", "--userns=keep-id"] if self._engine.is_podman else ["--user=0:0"]


def make(settings: WorkerSettings) -> Executor:
    """Return the executor of a worker."""
    return Containers(settings)


def _name(folder: Path) -> str:
    return f"orchestrator-{folder.name}"


def _environment(job: Job) -> dict[str, str]:
    return {
        **job.environment.variables,
        **job.variables,
        "HOME": str(HOME),
        "TMPDIR": str(HOME),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _limits(limits: Limits) -> Iterator[str]:
    if limits.memory is not None:
        yield f"--memory={limits.memory}"
        yield f"--memory-swap={limits.memory}"
    if limits.cpus is not None:
        yield f"--cpus={limits.cpus:g}"
    # The engine's first process in it counts, too.
    yield f"--pids-limit={limits.processes + 1}"
    yield "--ulimit=core=0:0"
    # Who may not raise a limit may not name a higher one.
    for name, kind, value in (
        ("fsize", resource.RLIMIT_FSIZE, limits.file_size),
        ("nofile", resource.RLIMIT_NOFILE, limits.open_files),
        ("nproc", resource.RLIMIT_NPROC, _MOST_PROCESSES),
    ):
        _, highest = resource.getrlimit(kind)
        allowed = [each for each in (value, highest) if each != resource.RLIM_INFINITY]
        yield f"--ulimit={name}={min(allowed, default=-1)}:{min(allowed, default=-1)}"


def _mount(source: Path, target: Path, *, writable: bool = False) -> str:
    line = io.StringIO()
    parts = ["type=bind", f"src={source}", f"dst={target}", *([] if writable else ["readonly"])]
    csv.writer(line, lineterminator="").writerow(parts)
    return f"--mount={line.getvalue()}"


def _lend(shared: Shared) -> Iterator[str]:
    if shared.path.is_relative_to("/dev") and not shared.path.is_dir():
        yield f"--device={shared.path}:{shared.path}:{'rw' if shared.writable else 'r'}"
    else:
        yield _mount(shared.path, shared.path, writable=shared.writable)
