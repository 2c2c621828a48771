"""What a function without a sandbox does to its worker, and what becomes of a federation when a part of it dies."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.core.pokes import RUN_TASK
from orchestrator.embedded.processes import ProcessError
from orchestrator.embedded.revival import Revival
from orchestrator.embedded.valkey import Valkey
from tests.kit.node import node
from tests.kit.processes import launcher_of
from tests.kit.recorded import serving
from tests.kit.waiting import wait_until
from tests.kit.world import TRAINS, World

from .contained import Contained, processes_with


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with serving() as (recorded, address):
        recorded.lease = 60.0
        world = World(tmp_path, recorded, address)
        world.settings.organization = f"org-{uuid.uuid4()}"
        yield world


# Leaves a daemon that no environment, session or parent betrays, then kills who would end it.
DAEMON = """
import os, signal, subprocess
child = "import os, time; os.setsid(); os.fork() and os._exit(0); time.sleep(600)"
subprocess.run(["{python}", "-IS", "-c", child, "{mark}"], env={{}}, cwd="/", check=True)
os.kill(os.getppid(), signal.SIGKILL)
time.sleep(600)
"""


@pytest.mark.parametrize("executor", ["subprocess", "sandbox"])
def test_a_daemon_does_not_outlive_a_launcher_that_its_function_killed(
    world: World, valkey: Valkey, executor: str
) -> None:
    world.settings.executor, mark = executor, uuid.uuid4().hex
    claim = world.claim(world.function(DAEMON.format(python=sys.executable, mark=mark)))
    claim.lease.FromSeconds(60)
    claim.time_limit.FromSeconds(5)
    with node(world, valkey.url) as worker:
        worker.poke(RUN_TASK, task=world.task, attempt=2)
        wait_until(lambda: world.recorded.failed, 60, "the report")
        wait_until(lambda: not processes_with(mark), message="the daemon to end")
    # Its launcher is not to be killed from a sandbox: there the time was over.
    assert [report.timed_out for report in world.recorded.failed] == [executor == "sandbox"]


def test_a_sandbox_ends_with_its_launcher_though_nobody_is_left_to_end_it(tmp_path: Path) -> None:
    """As when the kernel, short of memory, kills the worker and the launcher at once."""
    contained, mark = Contained(tmp_path), uuid.uuid4().hex
    daemon = [sys.executable, "-IS", "-c", "import time; time.sleep(600)", mark]
    source = f"subprocess.Popen({daemon!r}, env={{}}, start_new_session=True)\ntime.sleep(600)"
    contained.executor.start(contained.job(source))
    try:
        (pid,) = wait_until(lambda: processes_with(mark), 60, "the daemon")
        os.kill(launcher_of(pid), signal.SIGKILL)
        wait_until(lambda: not processes_with(mark), 60, "the daemon to end")
    finally:
        assert contained.executor.end(tmp_path, 0)


KILLS = """
import os, signal
def parents(pid):
    while pid > 1:
        yield pid
        pid = int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
for pid in reversed(list(parents(os.getppid()))):
    said = open(f"/proc/{pid}/cmdline", "rb").read()
    # Not pytest, which may have been told to run the tests in a folder of that name.
    if b"workers" in said and b"launch.py" not in said and b"pytest" not in said:
        os.kill(pid, signal.SIGKILL)
time.sleep(600)
"""


def test_a_task_that_kills_its_worker_is_counted(world: World, valkey: Valkey) -> None:
    """By the agent, which outlives the worker; after as many as the retry policy says the task is Failed."""
    world.settings.executor = "subprocess"
    world.claim(world.function(KILLS)).lease.FromSeconds(60)
    with node(world, valkey.url) as worker:
        worker.poke(RUN_TASK, task=world.task, attempt=2)
        wait_until(lambda: world.recorded.failed, 60, "the report")
        assert worker.process.wait(30) == -signal.SIGKILL
    (lost,) = world.recorded.failed
    assert lost.lost


def test_a_function_in_a_sandbox_does_not_find_its_worker(world: World) -> None:
    """The same function, that then does its work."""
    world.claim(world.function(KILLS.replace("time.sleep(600)", "") + TRAINS)).lease.FromSeconds(60)
    world.run()
    assert len(world.recorded.completed) == 1


def test_3000_nested_folders_do_not_keep_an_attempt_from_its_end(world: World) -> None:
    source = "import os\nfor _ in range(3000): os.mkdir('d' * 50); os.chdir('d' * 50)"
    world.claim(world.function(source)).lease.FromSeconds(60)
    world.run()  # the node's folder is empty afterwards
    assert "cannot be measured" in world.failure()[1]


def test_a_worker_refuses_to_start_where_it_cannot_isolate(world: World) -> None:
    with node_that_cannot_isolate(world) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    (line,) = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert "ORCHESTRATOR_EXECUTOR=subprocess" in line
    assert "Traceback" not in output


def node_that_cannot_isolate(world: World) -> "subprocess.Popen[str]":
    settings = world.settings
    environment = {
        "ORCHESTRATOR_CHANNELS": "known",
        "ORCHESTRATOR_ADDRESS": settings.address,
        "ORCHESTRATOR_BROKER_URL": "redis://127.0.0.1:9",
        "ORCHESTRATOR_STORE_ROOT": settings.store_root,
        "ORCHESTRATOR_STORE_URL": settings.store_url,
        "ORCHESTRATOR_WORK_DIR": str(settings.work_dir),
        "ORCHESTRATOR_SANDBOX_PROGRAM": "/bin/false",
    }
    command = [sys.executable, "-m", "orchestrator", "worker", "--org", "org-1"]
    return subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


class Frail:
    """A service that ends as often as it is told to."""

    def __init__(self) -> None:
        self.ended, self.fails, self.started = False, False, []

    def start(self) -> None:
        self.started.append(time.monotonic())
        if self.fails:
            raise ProcessError("frail cannot start; its log is empty")
        self.ended = False

    def check(self) -> None:
        if self.ended:
            raise ProcessError("frail ended with exit code 1; the end of its log:\n  Traceback")

    def stop(self) -> None:
        self.ended = True


def test_what_dies_again_and_again_is_started_at_longer_and_longer_pauses() -> None:
    service, said = Frail(), []
    revival = Revival({"frail": service}, said.append, lambda process: None)
    revival.look()
    assert (service.started, said) == ([], [])
    service.ended = service.fails = True
    begun = time.monotonic()

    def looked(times: int) -> bool:
        revival.look()
        return len(service.started) >= times

    wait_until(lambda: looked(2))
    assert service.started[0] - begun >= 0.5
    assert service.started[1] - service.started[0] >= 1.0
    assert said == [
        "frail ended with exit code 1; it is started again in 0.5 s",
        "frail cannot start; it is started again in 1 s",
        "frail cannot start; it is started again in 2 s",
    ]
    service.fails = False
    wait_until(lambda: looked(3))
    assert not service.ended
