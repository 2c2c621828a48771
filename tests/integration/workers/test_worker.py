"""The Celery worker as a process: it takes pokes from its organization's queue, and ends when told."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from celery import Celery

from orchestrator import protos as pb
from orchestrator.embedded.valkey import Valkey
from tests.waiting import wait_until
from workers.app import BUILD_FUNCTION, RUN_TASK, queue_of

from .recorded import serving
from .world import TRAINS, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with serving() as (recorded, address):
        world = World(tmp_path, recorded, address)
        world.settings.organization = f"org-{uuid.uuid4()}"
        yield world


def start(world: World, broker: str) -> "subprocess.Popen[bytes]":
    settings = world.settings
    environment = {
        "ORCHESTRATOR_ORGANIZATION": settings.organization,
        "ORCHESTRATOR_CHANNELS": ",".join(settings.channels),
        "ORCHESTRATOR_ADDRESS": settings.address,
        "ORCHESTRATOR_BROKER_URL": broker,
        "ORCHESTRATOR_STORE_ROOT": settings.store_root,
        "ORCHESTRATOR_STORE_URL": settings.store_url,
        "ORCHESTRATOR_WORK_DIR": str(settings.work_dir),
        "ORCHESTRATOR_NODE": settings.node,
    }
    script = (
        "import sys; from workers.app import main; from workers.settings import WorkerSettings; "
        "sys.exit(main(WorkerSettings()))"
    )
    with (world.root / "worker.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", script], env={**os.environ, **environment}, stdout=log, stderr=log
        )


def poke(world: World, broker: str, name: str, **arguments: str | int) -> None:
    with Celery("test", broker=broker, set_as_current=False) as app, app.connection_for_write() as connection:
        queue = queue_of(world.settings.organization)
        app.send_task(name, kwargs=arguments, queue=queue, connection=connection, ignore_result=True, serializer="json")


def test_the_worker_runs_what_it_is_poked_to_and_ends_on_term(world: World, valkey: Valkey) -> None:
    function = world.function(TRAINS)
    function.owner = world.settings.organization
    world.claim(function)
    worker = start(world, valkey.url)
    try:
        poke(world, valkey.url, BUILD_FUNCTION, function=function.key)
        ready = pb.FUNCTION_STATUS_READY
        wait_until(lambda: function.status == ready, timeout=30, message="the function to be built")
        poke(world, valkey.url, RUN_TASK, task=world.task, attempt=2)
        wait_until(lambda: world.recorded.completed, timeout=30, message="the task to be done")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    finally:
        worker.kill()
        worker.wait()
        print((world.root / "worker.log").read_text())
    log = (world.root / "worker.log").read_text()
    assert '"event": "task.claimed"' in log
    assert "Traceback" not in log


def test_a_worker_that_is_killed_takes_its_functions_along(world: World, valkey: Valkey) -> None:
    pid_file = world.root / "pid"
    source = f"import os; p = pathlib.Path({str(pid_file)!r}); p.write_text(str(os.getpid())); time.sleep(600)"
    world.claim(world.function(source))
    worker = start(world, valkey.url)
    try:
        poke(world, valkey.url, RUN_TASK, task=world.task, attempt=2)
        wait_until(lambda: pid_file.exists() and pid_file.read_text(), timeout=30, message="the function to run")
    finally:
        worker.kill()
        worker.wait()
    pid = int(pid_file.read_text())
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), timeout=30, message="the function to end")
    assert not world.recorded.completed
    assert not world.recorded.failed


def unacknowledged(broker: str, task: str) -> bool:
    """Tell whether the broker still waits to hear that a task's poke was taken."""
    with redis.Redis.from_url(broker) as connection:
        return any(task.encode() in message for message in connection.hvals("unacked"))


def test_a_poke_is_acknowledged_when_its_claim_is_answered_not_before_and_not_at_the_end(
    world: World, valkey: Valkey
) -> None:
    world.claim(world.function("time.sleep(600)"))
    world.recorded.claims_answered.clear()
    worker = start(world, valkey.url)
    try:
        poke(world, valkey.url, RUN_TASK, task=world.task, attempt=2)
        assert world.recorded.claiming.wait(30)
        assert unacknowledged(valkey.url, world.task)
        world.recorded.claims_answered.set()
        wait_until(lambda: not unacknowledged(valkey.url, world.task), timeout=30, message="the acknowledgement")
        assert worker.poll() is None
        assert not world.recorded.completed
    finally:
        world.recorded.claims_answered.set()
        worker.kill()
        worker.wait()
