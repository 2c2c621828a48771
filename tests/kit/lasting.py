"""A task whose function outlives its worker, for tests of who goes on with it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.kit import engines
from tests.kit.waiting import wait_until
from tests.kit.world import TRAINS, World
from workers.executors import registry
from workers.executors.executor import UnfitError
from workers.folder import Place, places

LONG = 600
"""Seconds of a lease of which nothing here can be the end."""
PATIENCE = 90.0
"""Seconds."""


class Lasts:
    """A task whose function says that it began, waits for a word, and trains."""

    def __init__(self, world: World, created: str) -> None:
        self.world = world
        self.created = created
        self._began, self._word = world.seen / "began", world.seen / "word"
        source = (
            f"open({str(self._began)!r}, 'a').write('.'); print('began', flush=True)\n"
            f"while not pathlib.Path({str(self._word)!r}).exists(): time.sleep(0.02)\n{TRAINS}print('ended')"
        )
        claim = world.claim(world.function(source))
        claim.lease.FromSeconds(LONG)
        world.recorded.lease = LONG
        self._models = set((world.store / "models").iterdir())

    @property
    def runs(self) -> int:
        """How often its function has begun."""
        with suppress(FileNotFoundError):
            return self._began.stat().st_size
        return 0

    @property
    def made(self) -> set[str]:
        """Keys of the models that lie in the store by now."""
        return {path.name for path in set((self.world.store / "models").iterdir()) - self._models}

    @property
    def place(self) -> Place:
        (place,) = [each for each in places(self.world.settings.node_folder) if self.world.task in each.folder.name]
        return place

    @property
    def goes_on(self) -> bool:
        """Whether anything of its run is left."""
        return registry.make(self.world.settings).alive(self.place.folder)

    def begin(self) -> None:
        """Wait until its function runs."""
        wait_until(lambda: self.runs, PATIENCE, "the function to begin")

    def end(self) -> None:
        """Have its function train, and end."""
        self._word.touch()

    def left(self, point: str = "") -> None:
        """Run the attempt in a process that dies: at a point, or while its function runs."""
        if point:
            self.end()
        with self.world.process(point) as process:
            if point:
                assert process.wait(PATIENCE) == -signal.SIGKILL
            else:
                self.begin()

    def is_done(self, heard: bool = True) -> None:
        """Wait until all is over; check that the task was completed once, by one run of its function.

        Args:
            heard: whether somebody was there for sure to hear what it said last.
        """
        recorded = self.world.recorded
        wait_until(lambda: recorded.completed or recorded.failed, PATIENCE, "the report")
        wait_until(lambda: not self.world.files, PATIENCE, "the folder to be removed")
        assert not recorded.failed, self.world.failure()[1]
        (completed,) = recorded.completed
        assert (completed.attempt.number, completed.attempt.token) == (2, "token")
        (model,) = completed.models
        assert (self.world.store / "models" / model.key).read_text() == "42.0"
        assert self.made == {model.key}
        (performance,) = completed.performances
        assert performance.performance_value == 0.25
        assert self.runs == 1
        said = [line for line in self.world.said.splitlines() if line in ("began", "ended")]
        assert said == ["began", "ended"] or (said == ["began"] and not heard)
        assert not recorded.stopped

    def is_lost(self, runs: int) -> None:
        """Wait until it is reported lost, so that another attempt runs; check that nothing of it counts."""
        recorded = self.world.recorded
        wait_until(lambda: recorded.failed, PATIENCE, "the report")
        wait_until(lambda: not self.world.files, PATIENCE, "the folder to be removed")
        (lost,) = recorded.failed
        assert lost.lost
        assert not recorded.completed
        assert not self.made
        assert self.runs == runs


@contextmanager
def lasting(executor: str, world: World, environment: pytest.MonkeyPatch) -> Iterator[Lasts]:
    """Have the functions of a world run by an executor whose runs last; skip the test where it cannot be had.

    Args:
        executor: its name.
        world: whose settings are changed.
        environment: of this process, in which a worker that is started finds them too.
    """
    with engines.settings(executor, world.root, environment) as more:
        given = {"executor": executor, "task_time_limit": 120.0, **more}
        world.settings = world.settings.model_copy(update=given)
        try:
            registry.make(world.settings).check()
        except UnfitError as error:
            pytest.skip(str(error))
        for name, value in more.items():
            environment.setenv(f"ORCHESTRATOR_{name.upper()}", value if isinstance(value, str) else ",".join(value))
        environment.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        yield Lasts(world, "container.created" if executor == "container" else "job.created")
        for place in places(world.settings.node_folder):
            registry.make(world.settings).end(place.folder, 0.0)
