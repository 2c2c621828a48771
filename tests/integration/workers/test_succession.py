"""Runs that outlive their worker: another process goes on with them, and each function runs once.

Containers are podman's, where `make image-test` names an image; jobs are the small cluster's, or that of KUBECONFIG.
"""

import json
from collections.abc import Iterator

import pytest

from orchestrator import protos as pb
from orchestrator.core import crash
from tests.kit.lasting import LONG, PATIENCE, Lasts, lasting
from tests.kit.waiting import wait_until
from tests.kit.world import World
from workers.executors import guarding, registry
from workers.executors.container import Containers
from workers.executors.engine import Engine
from workers.executors.lasting import Lasting
from workers.executors.lease import clock, left
from workers.node.succession import Succession
from workers.run import orders
from workers.run.handover import MOST_COLLECTIONS, Handover

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(params=["container", "kubernetes"])
def lasts(request: pytest.FixtureRequest, world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lasts]:
    with lasting(request.param, world, monkeypatch) as lasts:
        yield lasts


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


def test_on_another_machine_a_lease_is_asked_for_anew(lasts: Lasts) -> None:
    """Where the clock of leases began at another time, its end could be years away."""
    lasts.left()
    place = lasts.place
    file = place.folder / "handover" / "run"
    told = json.loads(file.read_text())
    told["moment"]["boot"] = "another"
    file.write_text(json.dumps(told))
    orders.renew(place, clock() + 10**8)
    Succession(lasts.world.settings).find()
    assert 0 < left(place.owner) <= 30
    with lasts.world.agent():
        lasts.end()
        lasts.is_done()


@pytest.mark.parametrize("lasts", ["container"], indirect=True)
def test_a_container_is_paused_while_its_lease_is_not_confirmed(lasts: Lasts) -> None:
    recorded = lasts.world.recorded
    lasts.left()
    recorded.lease = 6.0
    recorded.heartbeats_unanswered = 0
    with lasts.world.agent():
        wait_until(lasts.place.lives, PATIENCE, "somebody to go on with it")
        wait_until(lambda: recorded.heartbeats, PATIENCE, "the lease to be renewed")
        recorded.heartbeats_unanswered = 10**6
        wait_until(lambda: _status(lasts) == "paused", PATIENCE, "it to be paused")
        recorded.lease, recorded.heartbeats_unanswered = LONG, 0
        wait_until(lambda: _status(lasts) == "running", PATIENCE, "it to go on")
        lasts.end()
        lasts.is_done()


@pytest.mark.parametrize("lasts", ["container"], indirect=True)
def test_a_container_whose_guard_died_too_gets_another(lasts: Lasts) -> None:
    lasts.left()
    folder = lasts.place.folder
    guarding.kill(folder)
    wait_until(lambda: not guarding.lives(folder), PATIENCE, "the guard's end")
    assert lasts.goes_on
    with lasts.world.agent():
        wait_until(lambda: guarding.lives(folder), PATIENCE, "another guard")
        lasts.end()
        # It may have said its last word before the guard heard it.
        lasts.is_done(heard=False)


@pytest.mark.parametrize("lasts", ["container"], indirect=True)
def test_a_container_that_ended_without_guard_is_collected(lasts: Lasts) -> None:
    lasts.left()
    guarding.kill(lasts.place.folder)
    wait_until(lambda: not guarding.lives(lasts.place.folder), PATIENCE, "the guard's end")
    lasts.end()
    wait_until(lambda: _status(lasts) == "exited", PATIENCE, "it to end")
    with lasts.world.agent():
        lasts.is_done(heard=False)


@pytest.mark.parametrize("lasts", ["container"], indirect=True)
def test_a_container_that_somebody_has_removed_is_lost(lasts: Lasts) -> None:
    lasts.left()
    guarding.kill(lasts.place.folder)
    wait_until(lambda: not guarding.lives(lasts.place.folder), PATIENCE, "the guard's end")
    _engine(lasts).ask("rm", "--force", f"orchestrator-{lasts.place.folder.name}")
    with lasts.world.agent():
        lasts.is_lost(runs=1)


def _engine(lasts: Lasts) -> Engine:
    assert isinstance(registry.make(lasts.world.settings), Containers)
    return Engine(lasts.world.settings.container_engine)


def _status(lasts: Lasts) -> str:
    state = _engine(lasts).state(f"orchestrator-{lasts.place.folder.name}")
    return state.status if state else ""
