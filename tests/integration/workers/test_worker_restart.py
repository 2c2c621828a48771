"""A whole worker is killed while its function runs in a container or a job, and the next goes on with it."""

import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from orchestrator.core.pokes import RUN_TASK
from orchestrator.embedded.valkey import Valkey
from tests.kit.lasting import PATIENCE, Lasts, lasting
from tests.kit.node import Node, node
from tests.kit.recorded import serving
from tests.kit.waiting import wait_until
from tests.kit.world import World

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(params=["container", "kubernetes"])
def lasts(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lasts]:
    with serving() as (recorded, address):
        world = World(tmp_path, recorded, address)
        world.settings.organization = f"org-{uuid.uuid4()}"
        with lasting(request.param, world, monkeypatch) as lasts:
            yield lasts


def ready(worker: Node, started: int) -> bool:
    """Say whether so many workers have begun to read, and hear signals since."""
    return worker.log.count(" ready.") == started


def taken(worker: Node) -> bool:
    """Say whether a worker has taken the poke, and not acknowledged it."""
    # It does not answer before it has begun to read.
    with suppress(ValueError):
        return worker.unacknowledged()
    return False


def test_the_next_worker_goes_on_with_it(lasts: Lasts, valkey: Valkey) -> None:
    with node(lasts.world, valkey.url) as worker:
        worker.poke(RUN_TASK, task=lasts.world.task, attempt=2)
        lasts.begin()
        agent = worker.agent()
        os.kill(worker.process.pid, signal.SIGKILL)
        wait_until(lambda: agent not in worker.children(), PATIENCE, "its agent to end too")
    assert lasts.goes_on
    with node(lasts.world, valkey.url):
        wait_until(lasts.place.lives, PATIENCE, "somebody to go on with it")
        lasts.end()
        lasts.is_done()


def test_it_keeps_its_seat_and_is_waited_for_when_the_worker_ends(lasts: Lasts, valkey: Valkey) -> None:
    world = lasts.world
    with node(world, valkey.url) as worker:
        worker.poke(RUN_TASK, task=world.task, attempt=2)
        lasts.begin()
    first = world.task
    world.settings.drain_seconds = 60.0
    with node(world, valkey.url) as worker:
        wait_until(lasts.place.lives, PATIENCE, "somebody to go on with it")
        world.task = str(uuid.uuid4())
        world.recorded.claiming.clear()
        worker.poke(RUN_TASK, task=world.task, attempt=2)
        wait_until(lambda: taken(worker), PATIENCE, "the poke to be taken")
        assert not world.recorded.claiming.is_set()
        worker.process.send_signal(signal.SIGTERM)
        wait_until(lambda: (world.settings.node_folder / ".leaving").exists(), PATIENCE, "the worker to drain")
        world.task = first
        assert worker.process.poll() is None
        lasts.end()
        assert worker.process.wait(60) == 0
    assert not world.recorded.claiming.is_set()
    lasts.is_done()


def test_it_is_given_back_when_the_worker_ends_and_it_does_not(lasts: Lasts, valkey: Valkey) -> None:
    world = lasts.world
    with node(world, valkey.url) as worker:
        worker.poke(RUN_TASK, task=world.task, attempt=2)
        lasts.begin()
    world.settings.drain_seconds = 1.0
    with node(world, valkey.url) as worker:
        wait_until(lasts.place.lives, PATIENCE, "somebody to go on with it")
        wait_until(partial(ready, worker, 2), PATIENCE, "the second worker to hear signals")
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(90) == 0
    assert [released.attempt.token for released in world.recorded.released] == ["token"]
    assert not world.recorded.completed
    assert not world.recorded.failed
    assert not world.files


def test_a_worker_that_ends_may_leave_it_to_the_next(
    lasts: Lasts, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_LEAVE_RUNS", "true")
    world = lasts.world
    world.settings.drain_seconds = 1.0
    for started in (1, 2):
        with node(world, valkey.url) as worker:
            if not lasts.runs:
                worker.poke(RUN_TASK, task=world.task, attempt=2)
                lasts.begin()
            wait_until(partial(ready, worker, started), PATIENCE, "the worker to hear signals")
            wait_until(lasts.place.lives, PATIENCE, "somebody to have it")
            worker.process.send_signal(signal.SIGTERM)
            assert worker.process.wait(90) == 0
        assert lasts.goes_on
    assert not world.recorded.released
    with node(world, valkey.url):
        lasts.end()
        lasts.is_done()
