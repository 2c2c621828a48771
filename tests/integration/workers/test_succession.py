"""Runs that outlive their worker: another process goes on with them, and each function runs once.

Containers are podman's, where `make image-test` names an image; jobs are the small cluster's, or that of KUBECONFIG.
"""

import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from orchestrator import protos as pb
from orchestrator.core import crash
from tests.kit import engines
from tests.kit.waiting import wait_until
from tests.kit.world import TRAINS, World
from workers.executors import registry
from workers.executors.executor import UnfitError
from workers.executors.lasting import Lasting
from workers.folder import Place, places
from workers.run.handover import MOST_COLLECTIONS, Handover

pytestmark = pytest.mark.timeout(300)
LONG = 600
PATIENCE = 90.0


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

    def is_done(self) -> None:
        """Wait until all is over; check that the task was completed once, by one run of its function."""
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
        assert self.world.said.splitlines()[-2:] == ["began", "ended"]
        assert self.world.said.count("began") == 1
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


@pytest.fixture(params=["container", "kubernetes"])
def lasts(request: pytest.FixtureRequest, world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lasts]:
    with engines.settings(request.param, world.root, monkeypatch) as more:
        given = {"executor": request.param, "task_time_limit": 120.0, **more}
        world.settings = world.settings.model_copy(update=given)
        try:
            registry.make(world.settings).check()
        except UnfitError as error:
            pytest.skip(str(error))
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
        yield Lasts(world, "container.created" if request.param == "container" else "job.created")
        for place in places(world.settings.node_folder):
            registry.make(world.settings).end(place.folder, 0.0)


def test_both_of_ours_last(lasts: Lasts) -> None:
    assert isinstance(registry.make(lasts.world.settings), Lasting)


def test_before_anything_was_made_it_is_lost_and_nothing_has_run(lasts: Lasts) -> None:
    lasts.left("worker.before_run")
    with lasts.world.agent():
        lasts.is_lost(runs=0)


def test_what_was_made_and_not_begun_is_begun(lasts: Lasts) -> None:
    lasts.left(lasts.created)
    with lasts.world.agent():
        lasts.is_done()


def test_what_runs_is_gone_on_with_by_the_next_worker(lasts: Lasts) -> None:
    lasts.left()
    assert lasts.goes_on
    with lasts.world.agent():
        wait_until(lasts.place.lives, PATIENCE, "somebody to go on with it")
        assert lasts.goes_on
        lasts.end()
        lasts.is_done()


def test_what_runs_is_gone_on_with_when_a_process_of_the_pool_dies(lasts: Lasts) -> None:
    with lasts.world.agent():
        lasts.left()
        wait_until(lasts.place.lives, PATIENCE, "somebody to go on with it")
        lasts.end()
        lasts.is_done()


def test_what_has_ended_while_nobody_was_there_is_collected(lasts: Lasts) -> None:
    lasts.left()
    lasts.end()
    wait_until(lambda: not lasts.goes_on, PATIENCE, "it to end")
    with lasts.world.agent():
        lasts.is_done()


@pytest.mark.parametrize("point", ["worker.ended", "worker.ran", "worker.stored"])
def test_what_has_ended_and_was_not_reported_is_collected_again(lasts: Lasts, point: str) -> None:
    lasts.left(point)
    with lasts.world.agent():
        lasts.is_done()


@pytest.mark.parametrize("point", ["worker.before_report", "worker.reported"])
def test_what_was_about_to_be_reported_is_reported_in_the_same_words(lasts: Lasts, point: str) -> None:
    lasts.left(point)
    assert len(lasts.world.recorded.completed) == (point == "worker.reported")
    told = Handover(lasts.place.folder).told("token")
    with lasts.world.agent():
        lasts.is_done()
    assert lasts.world.recorded.completed == [told]


def test_a_successor_that_dies_has_another(lasts: Lasts, monkeypatch: pytest.MonkeyPatch) -> None:
    lasts.left()
    monkeypatch.setenv(crash.VARIABLE, "successor.begun")
    with lasts.world.agent():
        wait_until(lasts.place.lives, PATIENCE, "a successor")
        monkeypatch.delenv(crash.VARIABLE)
        lasts.end()
        lasts.is_done()


def test_what_kills_its_worker_whenever_it_is_collected_is_lost(lasts: Lasts, monkeypatch: pytest.MonkeyPatch) -> None:
    lasts.left("worker.stored")
    monkeypatch.setenv(crash.VARIABLE, "worker.stored")
    with lasts.world.agent():
        lasts.is_lost(runs=1)
    assert MOST_COLLECTIONS == 3


def test_a_failure_is_that_of_the_function_whoever_sees_it(lasts: Lasts) -> None:
    world = lasts.world
    claim = world.claim(world.function("print('on my way'); raise SystemExit(3)"))
    claim.lease.FromSeconds(LONG)
    lasts.left("worker.ended")
    with world.agent():
        wait_until(lambda: world.recorded.failed, PATIENCE, "the report")
        wait_until(lambda: not world.files, PATIENCE, "the folder to be removed")
    failed, said = world.failure()
    assert failed.error_type == pb.ERROR_TYPE_EXECUTION
    assert not failed.lost
    assert "on my way" in said
    assert "exited with code 3" in said


def test_the_time_limit_counts_from_its_beginning(lasts: Lasts) -> None:
    world = lasts.world
    world.settings = world.settings.model_copy(update={"task_time_limit": 10.0})
    lasts.left()
    begun = Handover(lasts.place.folder).begun()
    assert 0 < begun.left < begun.seconds == 10.0
    wait_until(lambda: begun.left < 0, 30, "the time limit")
    with world.agent():
        wait_until(lambda: world.recorded.failed, PATIENCE, "the report")
        wait_until(lambda: not world.files, PATIENCE, "the folder to be removed")
    failed, _ = world.failure()
    assert failed.timed_out
    assert lasts.runs == 1


def test_the_orchestrators_order_ends_it(lasts: Lasts) -> None:
    lasts.left()
    lasts.world.recorded.stops[lasts.world.task] = "the plan was cancelled"
    with lasts.world.agent():
        wait_until(lambda: lasts.world.recorded.stopped, PATIENCE, "the receipt")
        wait_until(lambda: not lasts.world.files, PATIENCE, "the folder to be removed")
    assert not lasts.world.recorded.completed
    assert not lasts.world.recorded.failed
    assert not lasts.made


def test_without_anybody_it_ends_with_its_lease_and_is_lost(lasts: Lasts) -> None:
    lasts.world.recorded.claims[lasts.world.task].lease.FromSeconds(8)
    lasts.left()
    wait_until(lambda: not lasts.goes_on, PATIENCE, "it to be ended")
    with lasts.world.agent():
        lasts.is_lost(runs=1)


def test_what_leaves_no_token_lies_in_its_folder_for_this_user_alone(lasts: Lasts) -> None:
    lasts.left("worker.before_report")
    files = list((lasts.place.folder / "handover").iterdir())
    assert {path.name for path in files} == {"run", "outcome", "collected", "report"}
    assert (lasts.place.folder / "handover").stat().st_mode & 0o777 == 0o700
    assert not [path.name for path in files if b"token" in path.read_bytes()]
