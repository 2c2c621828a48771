"""How a worker ends, in order and otherwise, and what becomes of the attempts that it runs."""

import os
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import protos as pb
from orchestrator.core.pokes import RUN_TASK
from orchestrator.embedded.valkey import Valkey
from tests.kit.node import Node, node
from tests.kit.processes import SELF, outside
from tests.kit.recorded import serving
from tests.kit.waiting import wait_until
from tests.kit.world import TRAINS, World

# Nothing that these tests see can be the end of a lease.
LONG = 600.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with serving() as (recorded, address):
        world = World(tmp_path, recorded, address)
        world.settings.organization = f"org-{uuid.uuid4()}"
        recorded.lease = LONG
        yield world


@pytest.fixture
def worker(world: World, valkey: Valkey, request: pytest.FixtureRequest) -> Iterator[Node]:
    marker = request.node.get_closest_marker("parametrize")
    assert marker is None or "seconds" not in marker.args[0] or "seconds" in request.fixturenames
    if "seconds" in request.fixturenames:
        world.settings.drain_seconds = request.getfixturevalue("seconds")
    with node(world, valkey.url) as worker:
        yield worker


class Waiter:
    """A function that says that it runs, and ends when it may."""

    def __init__(self, world: World, worker: Node) -> None:
        self._pid = world.seen / "pid"
        self._may_end = world.seen / "may end"
        source = (
            f"import os; p = pathlib.Path({str(self._pid)!r}); q = p.with_name('draft'); "
            f"q.write_text({SELF}); q.rename(p)\n"
            f"while not pathlib.Path({str(self._may_end)!r}).exists(): time.sleep(0.02)\n"
        )
        claim = world.claim(world.function(source + TRAINS))
        claim.lease.FromMilliseconds(int(world.recorded.lease * 1000))
        worker.poke(RUN_TASK, task=world.task, attempt=2)
        wait_until(self._pid.exists, timeout=30, message="the function to run")
        self.pid = outside(self._pid.read_text())

    @property
    def lives(self) -> bool:
        return Path(f"/proc/{self.pid}").exists()

    def may_end(self) -> None:
        self._may_end.touch()


@pytest.mark.parametrize("seconds", [LONG])
def test_term_lets_an_attempt_end_and_takes_no_more(world: World, worker: Node, seconds: float) -> None:
    waiter = Waiter(world, worker)
    worker.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "worker.draining" in worker.log, message="the drain to begin")
    worker.poke(RUN_TASK, task=str(uuid.uuid4()), attempt=1)
    waiter.may_end()
    assert worker.process.wait(30) == 0
    assert len(world.recorded.completed) == 1
    assert not world.recorded.released
    assert worker.pending() == 1
    assert not worker.children()
    assert not world.files


@pytest.mark.parametrize(
    ("seconds", "signals"),
    [(0.5, [signal.SIGTERM]), (LONG, [signal.SIGTERM, signal.SIGTERM]), (LONG, [signal.SIGQUIT])],
    ids=["TERM", "TERM twice", "QUIT"],
)
def test_what_does_not_end_in_time_is_released(
    world: World, worker: Node, seconds: float, signals: list[signal.Signals]
) -> None:
    waiter = Waiter(world, worker)
    for count, number in enumerate(signals, start=1):
        worker.process.send_signal(number)
        wait_until(
            lambda count=count: worker.log.count("worker.draining") == count or world.recorded.released,
            message="the signal to arrive",
        )
    assert worker.process.wait(30) == 0
    (released,) = world.recorded.released
    assert released.attempt == pb.Attempt(compute_task_key=world.task, number=2, token="token")
    assert not waiter.lives
    assert not world.recorded.completed
    assert not world.recorded.failed
    assert not worker.children()
    assert not world.files
    assert "Traceback" not in worker.log


def test_a_worker_without_work_ends_at_once(world: World, worker: Node) -> None:
    wait_until(lambda: " ready." in worker.log or world.recorded.heartbeats, timeout=30, message="the worker to start")
    wait_until(lambda: len(worker.children()) >= 2, timeout=30, message="its processes to start")
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(30) == 0
    assert not worker.children()


def test_a_child_that_is_killed_is_noticed_at_once_and_the_worker_goes_on(world: World, worker: Node) -> None:
    waiter = Waiter(world, worker)
    agent = worker.agent()
    (child,) = worker.children().keys() - {agent}
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: world.recorded.failed, message="the report, long before the lease runs out")
    assert not waiter.lives
    waiter.may_end()
    worker.poke(RUN_TASK, task=world.task, attempt=2)
    wait_until(lambda: world.recorded.completed, timeout=30, message="another child to run the task again")
    wait_until(lambda: not world.files, message="the folders to be removed")
    assert len(world.recorded.failed) == 1


def test_a_worker_that_is_killed_takes_its_functions_along_and_its_agent_reports(world: World, worker: Node) -> None:
    waiter = Waiter(world, worker)
    worker.agent()
    worker.process.kill()
    worker.process.wait()
    wait_until(lambda: world.recorded.failed, message="the report, long before the lease runs out")
    assert not waiter.lives
    wait_until(lambda: not worker.children(), message="the agent to end")
    assert not world.files
    assert not world.recorded.completed


def test_a_worker_that_is_killed_with_its_agent_is_reported_by_the_next_one(
    world: World, valkey: Valkey, worker: Node
) -> None:
    waiter = Waiter(world, worker)
    os.killpg(worker.process.pid, signal.SIGKILL)
    worker.process.wait()
    wait_until(lambda: not waiter.lives, message="the function to end")
    assert not world.recorded.failed
    with node(world, valkey.url):
        wait_until(lambda: world.recorded.failed, timeout=30, message="the report")
        wait_until(lambda: not world.files, message="the folder to be removed")


def test_an_agent_that_is_killed_is_replaced(world: World, worker: Node) -> None:
    waiter = Waiter(world, worker)
    agent = worker.agent()
    before = len(world.recorded.heartbeats)
    os.kill(agent, signal.SIGKILL)
    wait_until(lambda: len(world.recorded.heartbeats) > before, timeout=30, message="the next agent to beat")
    assert worker.agent() != agent
    world.recorded.stops[world.task] = "the plan was cancelled"
    assert worker.announce_stop()
    wait_until(lambda: world.recorded.stopped, message="the receipt")
    assert not waiter.lives


def test_a_broadcast_brings_a_stop_order_at_once_and_a_forged_one_does_no_harm(world: World, worker: Node) -> None:
    waiter = Waiter(world, worker)
    assert worker.announce_stop()
    before = len(world.recorded.heartbeats)
    wait_until(lambda: len(world.recorded.heartbeats) >= before, message="the agent to beat")
    assert waiter.lives
    world.recorded.stops[world.task] = "the plan was cancelled"
    assert worker.announce_stop()
    wait_until(lambda: world.recorded.stopped, message="the receipt, long before the next heartbeat")
    assert not waiter.lives
    assert not world.recorded.completed
    assert not world.recorded.failed


def test_a_worker_that_was_frozen_past_its_lease_reports_and_keeps_nothing(world: World, worker: Node) -> None:
    # Time enough for the function to end: without a lease it is paused.
    world.recorded.lease = 3.0
    waiter = Waiter(world, worker)
    models = sorted((world.store / "models").iterdir())
    worker.agent()
    os.killpg(worker.process.pid, signal.SIGSTOP)
    frozen = time.monotonic()
    waiter.may_end()
    wait_until(lambda: not waiter.lives, timeout=30, message="the function to end; it is not frozen")
    wait_until(lambda: time.monotonic() > frozen + world.recorded.lease, message="the lease to run out")
    world.recorded.stops[world.task] = "another attempt holds the task"
    before = len(world.recorded.heartbeats)
    os.killpg(worker.process.pid, signal.SIGCONT)
    wait_until(lambda: world.recorded.stopped, timeout=30, message="the receipt")
    wait_until(lambda: not world.files, message="the folder to be removed")
    assert len(world.recorded.heartbeats) > before
    assert sorted((world.store / "models").iterdir()) == models
    assert not world.recorded.completed
    assert not world.recorded.failed
