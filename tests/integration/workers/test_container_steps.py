"""Container steps of executions from claim to report, against a recorded orchestrator; their commands run for real."""

import json
import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from orchestrator import protos as pb
from orchestrator.core.pokes import RUN_TASK
from orchestrator.embedded.valkey import Valkey
from tests.kit.node import node
from tests.kit.recorded import serving
from tests.kit.waiting import wait_until
from tests.kit.world import World
from workers.folder import places

IMAGE = "registry.example.org/engine:1.4"
TELLS = """
import json, os, sys
print(json.dumps({"args": sys.argv[1:], "env": dict(os.environ), "here": os.listdir()}))
"""


def program(world: World, source: str, more: str = "") -> str:
    """Return a map of images in which a program of ours stands for `IMAGE`."""
    file = world.seen / "engine.py"
    file.write_text(source)
    return f"{IMAGE}: {{command: [python3, {file}, first], {more}}}"


def test_the_command_of_the_map_runs_with_the_arguments_of_the_step(world: World) -> None:
    images = program(world, TELLS, "env: [MODEL_DIR]")
    world.claim_step(IMAGE, "--patients", '{"a": "ü {{x}}"}', env={"MODEL_DIR": "/tmp/model"}, images=images)
    world.run()
    (completed,) = world.recorded.completed
    assert completed.attempt.token == "token"
    assert completed.results.Is(pb.ContainerDone.DESCRIPTOR)
    told = json.loads(world.said)
    assert told["args"] == ["first", "--patients", '{"a": "ü {{x}}"}']
    assert told["env"]["MODEL_DIR"] == "/tmp/model"
    assert not [name for name in told["env"] if name.startswith("ORCHESTRATOR")]
    assert told["here"] == []


@pytest.mark.parametrize(
    ("image", "env", "complaint"),
    [
        ("another:1", {}, "org-1 has no command for the image 'another:1' in its map of images"),
        (IMAGE, {"LD_PRELOAD": "/x.so"}, "the step sets the variable 'LD_PRELOAD', which org-1 lets no step set"),
    ],
)
def test_what_the_map_does_not_say_does_not_run(world: World, image: str, env: dict[str, str], complaint: str) -> None:
    world.claim_step(image, env=env, images=program(world, TELLS))
    world.run()
    (failed,) = world.recorded.failed
    assert failed.error_type == pb.ERROR_TYPE_BUILD
    assert failed.reason.startswith(complaint)
    assert world.said == f"\nTask failed: {failed.reason}\n"


def test_a_worker_without_a_map_runs_no_step(world: World) -> None:
    world.claim_step(IMAGE)
    world.run()
    (failed,) = world.recorded.failed
    assert "no command for the image" in failed.reason


def test_a_failure_is_told_with_its_reason_and_its_log_stays(world: World) -> None:
    world.claim_step(IMAGE, images=program(world, "print('on my way'); raise SystemExit(3)"))
    world.run()
    (failed,) = world.recorded.failed
    assert (failed.error_type, failed.timed_out) == (pb.ERROR_TYPE_EXECUTION, False)
    assert failed.reason == "the command exited with code 3; see the lines above"
    assert not failed.HasField("logs_address")
    assert world.said == f"on my way\n\nTask failed: {failed.reason}\n"


def test_a_step_has_the_limits_of_a_task(world: World) -> None:
    world.settings.task_time_limit = 1.0
    world.claim_step(IMAGE, images=program(world, "import time; time.sleep(600)"))
    world.run()
    (failed,) = world.recorded.failed
    assert failed.timed_out
    assert failed.reason == "the command was ended: it ran longer than 1 seconds"


@pytest.mark.parametrize("allowed", [True, False])
def test_the_network_is_there_only_where_the_map_says_so(world: World, allowed: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        source = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5)"
        world.claim_step(IMAGE, images=program(world, source, f"network: {str(allowed).lower()}"))
        world.run()
    assert bool(world.recorded.completed) == allowed
    assert bool(world.recorded.failed) != allowed


def test_a_path_is_seen_by_the_image_alone_to_which_it_is_lent(world: World, tmp_path: Path) -> None:
    cohort = tmp_path / "cohort"
    cohort.mkdir()
    (cohort / "patients.csv").write_text("1,2\n")
    source = f"print(open('{cohort}/patients.csv').read()); open('{cohort}/new', 'w')"
    world.claim_step(IMAGE, images=program(world, source, f"paths: [{cohort}]"))
    world.run()
    assert "1,2" in world.said
    assert "Read-only file system" in world.said
    world.claim_step(IMAGE, images=program(world, source))
    world.run()
    assert "No such file" in world.said


def test_a_stopped_step_ends_and_is_not_reported(world: World) -> None:
    world.claim_step(IMAGE, images=program(world, "import time; print('runs', flush=True); time.sleep(600)"))
    running = threading.Thread(target=world.run)
    running.start()
    wait_until(lambda: (world.store / "task_logs" / world.task / "2").exists(), message="it to say something")
    world.recorded.stops[world.task] = "it was cancelled"
    running.join(30)
    assert world.recorded.stopped == [world.task]
    assert not world.recorded.completed
    assert not world.recorded.failed


def test_another_kind_of_work_is_given_up(world: World) -> None:
    world.claim_step(IMAGE).work.Pack(pb.Execution(id=7))
    world.run()
    (failed,) = world.recorded.failed
    assert failed.error_type == pb.ERROR_TYPE_INTERNAL
    assert "handed something else" in failed.reason


def test_a_worker_reads_its_map_again_and_what_dies_with_it_is_lost(tmp_path: Path, valkey: Valkey) -> None:
    with serving() as (recorded, address):
        world = World(tmp_path, recorded, address)
        world.settings.organization = f"org-{os.getpid()}-{tmp_path.name}"
        world.claim_step(IMAGE, images="other:1: {command: [sh]}\n")
        with node(world, valkey.url) as worker:
            worker.poke(RUN_TASK, task=world.task, attempt=2)
            wait_until(lambda: recorded.failed, timeout=30, message="the step to fail")
            assert "no command for the image" in recorded.failed.pop().reason
            world.claim_step(IMAGE, images=program(world, "import time; print('runs', flush=True); time.sleep(600)"))
            said = world.store / "task_logs" / world.task / "2"
            worker.poke(RUN_TASK, task=world.task, attempt=2)
            wait_until(lambda: said.exists() and "runs" in said.read_text(), timeout=30, message="it to say something")
            (place,) = [place for place in places(world.settings.node_folder) if world.task in place.folder.name]
            record = place.record()
            assert record is not None
            os.kill(record.pid, signal.SIGKILL)
            wait_until(lambda: recorded.failed, timeout=30, message="the loss to be told")
            assert recorded.failed[0].lost
