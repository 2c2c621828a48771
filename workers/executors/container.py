"""The executor `container`: a function runs in a container of its own, made by podman or docker of this machine.

It has no network, no capability and a root that nobody can write to; it sees its inputs read-only, and may write to its
outputs and its temporary files. A guard (see `launcher.guard`) keeps it within its lease, also without a worker.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import structlog

from orchestrator.core import crash
from workers.executors import guarding
from workers.executors.creation import FOLDER, NODE, Creation, container_name
from workers.executors.engine import Engine, EngineError, State
from workers.executors.executor import Ending, Executor, Job, Outcome
from workers.executors.guarding import Found, Guarding
from workers.executors.image import Image, Waiting
from workers.executors.image_store import ImageStore
from workers.executors.lasting import LostRunError
from workers.executors.lease import left
from workers.executors.quota import Quota
from workers.settings import WorkerSettings

log = structlog.get_logger()

_PATIENCE_SECONDS = 30.0
_STARTED = "container"


@dataclass
class _Run:
    guard: Guarding | Found
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
        self._creation = Creation(settings, self._engine)
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
        self._engine.ask("create", *self._creation.words(job))
        crash.point("container.created")
        self._runs[job.folder] = _run(job, self._guard(job, begun=False))
        crash.point("container.begun")

    def take_over(self, job: Job) -> bool:
        """Go on with a container by its guard, or give it one, if it has none any more.

        Raises:
            OSError: the engine does not say how it is.
        """
        folder = job.folder
        # Where somebody has begun to end it, how it ends is not its own.
        if not (folder / _STARTED).exists() or (folder / guarding.ENDING).exists():
            return False
        guard: Guarding | Found = Found(folder)
        if not guarding.lives(folder):
            try:
                code = guarding.ended(folder)
            except LostRunError as error:
                log.warning("container.lost", folder=folder.name, reason=str(error))
                return False
            state = self._engine.state(container_name(folder)) if code is None else None
            if code is None and state is None:
                return False
            if state is not None:
                guard = self._guard(job, begun=not state.is_new)
        self._runs[folder] = _run(job, guard)
        return True

    def _guard(self, job: Job, *, begun: bool) -> Guarding:
        return Guarding(self._engine.words, self._engine.environment, container_name(job.folder), job, begun=begun)

    def alive(self, folder: Path) -> bool:
        """Say whether the guard is there, or else the container goes on without it."""
        if guarding.lives(folder):
            return True
        if not (folder / _STARTED).exists():
            return False
        try:
            state = self._engine.state(container_name(folder))
        except EngineError as error:
            log.error("container.unknown", folder=folder.name, reason=str(error))
            return True
        return state is not None and state.goes_on

    def pause(self, folder: Path) -> None:
        """Freeze the container; kill it where that cannot be done."""
        try:
            self._engine.ask("pause", container_name(folder))
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
            gone = self._remove(container_name(folder))
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
        state = self._engine.state(container_name(folder)) if grace > 0 else None
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
        for name in self._engine.named(f"label={NODE}={self._creation.node}"):
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
            return self._engine.state(container_name(folder))
        except EngineError:
            return None

    def _tell(self, folder: Path, *words: str) -> None:
        """Tell the engine what a container is to do that may have ended meanwhile."""
        try:
            self._engine.ask(*words, container_name(folder), seconds=_PATIENCE_SECONDS + self._settings.task_kill_grace)
        except EngineError as error:
            log.debug("container.not_told", order=words[0], folder=folder.name, reason=str(error))


def _run(job: Job, guard: Guarding | Found) -> _Run:
    folders = (job.folder / each for each in ("function", "home", "outputs"))
    return _Run(guard, job, Quota(folders, job.limits))


def make(settings: WorkerSettings) -> Executor:
    """Return the executor of a worker."""
    return Containers(settings)
