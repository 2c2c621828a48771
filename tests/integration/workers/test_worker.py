"""The Celery worker as a process: it takes pokes from its organization's queue, and ends when told."""

import json
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import protos as pb
from orchestrator.core.pokes import BUILD_FUNCTION, RUN_TASK
from orchestrator.embedded.ports import free_port
from orchestrator.embedded.valkey import Valkey
from tests.kit.health import asked, await_ready
from tests.kit.node import node
from tests.kit.recorded import serving
from tests.kit.waiting import wait_until
from tests.kit.world import TRAINS, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with serving() as (recorded, address):
        world = World(tmp_path, recorded, address)
        world.settings.organization = f"org-{uuid.uuid4()}"
        yield world


def test_the_worker_runs_what_it_is_poked_to_and_ends_on_term(world: World, valkey: Valkey) -> None:
    function = world.function(TRAINS)
    function.owner = world.settings.organization
    world.claim(function)
    with node(world, valkey.url) as worker:
        worker.poke(BUILD_FUNCTION, function=function.key)
        ready = pb.FUNCTION_STATUS_READY
        wait_until(lambda: function.status == ready, timeout=30, message="the function to be built")
        worker.poke(RUN_TASK, task=world.task, attempt=2)
        wait_until(lambda: world.recorded.completed, timeout=30, message="the task to be done")
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(30) == 0
        assert not worker.children()
    assert '"event": "task.claimed"' in worker.log
    assert "Traceback" not in worker.log
    # No banner of Celery's, no line of gRPC's.
    assert all("event" in json.loads(line) for line in worker.log.splitlines())


def test_a_worker_is_ready_while_it_reads_its_queue_and_the_orchestrator_hears_it(world: World, valkey: Valkey) -> None:
    address = world.settings.health_address = f"127.0.0.1:{free_port()}"
    with node(world, valkey.url) as worker:
        await_ready(address)
        world.recorded.heartbeats_unanswered = 1_000_000
        reason = await_ready(address, 503)
        assert "does not answer its heartbeats: channel" in reason
        assert asked(address, "/health") == (200, "ok")
        world.recorded.heartbeats_unanswered = 0
        await_ready(address)
        # The agent answers: another one takes its place.
        os.kill(worker.agent(), signal.SIGKILL)
        await_ready(address)
        worker.process.send_signal(signal.SIGTERM)
        assert worker.process.wait(30) == 0
    assert asked(address, "/health")[0] == 0


def test_a_poke_is_acknowledged_when_its_claim_is_answered_not_before_and_not_at_the_end(
    world: World, valkey: Valkey
) -> None:
    world.claim(world.function("time.sleep(600)"))
    world.recorded.claims_answered.clear()
    with node(world, valkey.url) as worker:
        worker.poke(RUN_TASK, task=world.task, attempt=2)
        try:
            assert world.recorded.claiming.wait(30)
            assert worker.unacknowledged()
        finally:
            world.recorded.claims_answered.set()
        wait_until(lambda: not worker.unacknowledged(), timeout=30, message="the acknowledgement")
        assert worker.process.poll() is None
        assert not world.recorded.completed
