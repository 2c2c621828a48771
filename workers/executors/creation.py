"""What the engine is told to make a container of, for a run of one attempt: its walls, what it sees, its limits."""

import csv
import io
import resource
from collections.abc import Iterator
from os import getgid, getuid
from pathlib import Path

from workers.executors import arguments
from workers.executors.engine import Engine
from workers.executors.executor import Job, Limits, Shared
from workers.executors.places import ARGUMENTS, FUNCTION, HOME, INPUTS, OUTPUTS, placed
from workers.settings import WorkerSettings

NODE = "orchestrator.node"
"""The label that says which node has started a container."""
FOLDER = "orchestrator.folder"
"""The label that says where its attempt's folder was."""

# What podman has itself, and gives where nothing is said; what counts is the control group's limit.
_MOST_PROCESSES = 32_768


class Creation:
    """Makes containers of one node.

    Args:
        settings: the worker's.
        engine: that makes them.
    """

    def __init__(self, settings: WorkerSettings, engine: Engine) -> None:
        self.node = f"{settings.organization}@{settings.node}"
        self._settings = settings
        self._engine = engine
        self._shared = tuple(Shared.parse(path) for path in settings.sandbox_paths)

    def words(self, job: Job) -> list[str]:
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
            f"--name={container_name(job.folder)}",
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
        return {NODE: self.node, FOLDER: str(job.folder), **about}

    def _user(self) -> list[str]:
        """Return as whom a function runs: as the worker's user, to whom what it writes belongs."""
        if not self._engine.is_rootless:
            return [f"--user={getuid()}:{getgid()}"]
        # In a user namespace of its own.
        return [f"--user={getuid()}:{getgid()}", "--userns=keep-id"] if self._engine.is_podman else ["--user=0:0"]


def container_name(folder: Path) -> str:
    """Return the name of an attempt's container; its folder's name is like no other's."""
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
