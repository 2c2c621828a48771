"""Functions and container steps in real containers: their images, their walls, their end. `make image-test` runs it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import protos as pb
from tests.integration.workers.conftest import pool  # noqa: F401 - a fixture
from tests.kit import engines
from tests.kit.pool import Pool
from tests.kit.recorded import serving
from tests.kit.temporary import attempt_folder
from tests.kit.waiting import wait_until
from tests.kit.world import TRAINS, World
from workers.executors import registry
from workers.executors.engine import Engine
from workers.executors.executor import Job, Limits, Outcome, UnfitError
from workers.executors.image import Image
from workers.executors.image_store import NAME
from workers.executors.lease import clock

pytestmark = [
    pytest.mark.skipif(not engines.IMAGE, reason=engines.NEEDED),
    pytest.mark.timeout(300),
]
IMAGE = engines.IMAGE
DOCKERFILE = f'FROM {IMAGE}\nWORKDIR /app\nCOPY . .\nRUN echo made > made\nENTRYPOINT ["python3", "function.py"]\n'
STEP = "registry.example.org/engine:1.4"
LIMITS = Limits(time=60.0, grace=0.5, memory=100_000_000, file_size=10_000_000, processes=50, cpus=1.0)


@pytest.fixture
def world(tmp_path: Path, pool: Pool) -> Iterator[World]:  # noqa: F811
    with serving() as (recorded, address):
        world = World(tmp_path, recorded, address, pool)
        policy = tmp_path / "consent.yaml"
        policy.write_text(f"images: ['{IMAGE}']\n")
        world.settings = world.settings.model_copy(
            update={
                "executor": "container",
                "container_engine": engines.ENGINE,
                "consent_policy": policy,
                "task_time_limit": 120.0,
                "sandbox_paths": (),
            }
        )
        yield world
    # What a failed test has left.
    for name in containers(world):
        engine().ask("rm", "--force", name)
    for name in engine().ask("images", "--quiet", NAME).split():
        engine().ask("image", "rm", "--force", name)


def engine() -> Engine:
    return Engine(engines.ENGINE)


def containers(world: World) -> list[str]:
    return engine().named(f"label=orchestrator.node={world.settings.organization}@{world.settings.node}")


def test_an_image_is_built_of_the_archive_once_and_the_task_runs_in_it(world: World) -> None:
    source = f"{TRAINS}\nassert pathlib.Path('made').read_text() == 'made\\n'\nassert os.getcwd() == '/app'\n"
    function = world.function(source, DOCKERFILE)
    world.build(function.key)
    assert function.status == pb.FUNCTION_STATUS_READY
    (built,) = engine().ask("images", "--no-trunc", "--format={{.ID}}", NAME).split()
    world.claim(function)
    world.run()
    assert world.recorded.completed, world.failure()[1]
    assert engine().ask("images", "--no-trunc", "--format={{.ID}}", NAME).split() == [built]
    assert containers(world) == []


def test_an_image_that_cannot_be_built_says_why_in_the_log_of_the_build(world: World) -> None:
    function = world.function(TRAINS, f'FROM {IMAGE}\nRUN echo no luck && exit 3\nENTRYPOINT ["python3", "x"]\n')
    world.build(function.key)
    assert function.status == pb.FUNCTION_STATUS_FAILED
    said = (world.store / "logs" / f"{function.key}-1").read_text()
    assert "exit status 3" in said
    assert "names org-1 under `builds`" in said or "does not name org-1 under `builds`" in said


@pytest.mark.parametrize(
    ("dockerfile", "complaint"),
    [
        ('FROM python:3.11\nENTRYPOINT ["python3", "x"]\n', "the image python:3.11 is none of those"),
        (
            f"FROM {IMAGE}\n"
            "RUN python3 -c \"import socket; socket.create_connection(('127.0.0.1', 9), 2)\"\n"
            'ENTRYPOINT ["python3", "x"]\n',
            "its commands may not use the network",
        ),
    ],
)
def test_a_build_is_made_of_what_the_policy_admits_and_without_the_network(
    world: World, dockerfile: str, complaint: str
) -> None:
    function = world.function(TRAINS, dockerfile)
    world.build(function.key)
    assert function.status == pb.FUNCTION_STATUS_FAILED
    assert complaint in (world.store / "logs" / f"{function.key}-1").read_text()


def test_images_that_take_too_much_go_the_longest_unused_first(world: World) -> None:
    world.settings = world.settings.model_copy(update={"image_cache_size": 3_500_000})
    dockerfile = DOCKERFILE.replace("echo made > made", "head -c 2000000 /dev/zero > made")
    for number in range(2):
        world.build(world.function(f"{TRAINS}# {number}", dockerfile).key)
    assert len(engine().ask("images", "--quiet", NAME).split()) == 1
    assert len(list((world.settings.images_folder).iterdir())) == 1


def test_a_function_may_name_its_image_and_its_archive_lies_in_it(world: World) -> None:
    function = world.function(f"{TRAINS}\nassert os.getcwd() == '/function'\n", DOCKERFILE)
    function.metadata["image"] = IMAGE
    world.claim(function)
    world.run()
    assert world.recorded.completed, world.failure()[1]
    assert not engine().ask("images", "--quiet", NAME).split()


def test_a_step_runs_the_image_that_the_map_names(world: World) -> None:
    tells = "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ['MODEL_DIR'], os.path.exists('/srv')]))"
    name = f"{NAME}:step"
    context = world.root / "step"
    context.mkdir()
    (context / "Dockerfile").write_text(f"FROM {IMAGE}\nENTRYPOINT {json.dumps(['python3', '-c', tells])}\n")
    engine().ask("build", f"--tag={name}", str(context))
    images = f"{STEP}: {{image: '{name}', env: [MODEL_DIR]}}"
    world.claim_step(STEP, "--patients", "x y", env={"MODEL_DIR": "/tmp/model"}, images=images)
    world.run()
    assert world.recorded.completed, world.said
    assert json.loads(world.said) == [["--patients", "x y"], "/tmp/model", True]


def test_an_image_that_is_nowhere_is_the_networks_fault(world: World) -> None:
    world.claim_step(STEP, images=f"{STEP}: {{image: 'localhost:1/nowhere:1'}}")
    world.run()
    (failed,) = world.recorded.failed
    assert failed.error_type == pb.ERROR_TYPE_INTERNAL
    assert "the image localhost:1/nowhere:1 cannot be fetched" in world.said


def test_a_container_says_whose_it_is_and_not_by_its_token(world: World) -> None:
    function = world.function("outputs['model'].with_name('began').touch(); time.sleep(600)")
    function.metadata["image"] = IMAGE
    world.claim(function).lease.FromSeconds(60)
    with world.process():
        wait_until(
            lambda: list(world.settings.node_folder.glob("*/outputs/began")),
            timeout=60,
            message="the function to begin",
        )
    (running,) = containers(world)
    labels = json.loads(engine().ask("container", "inspect", "--format={{json .Config.Labels}}", running))
    assert labels["orchestrator.task"] == world.task
    assert labels["orchestrator.attempt"] == "2"
    assert "token" not in labels.values()


@pytest.fixture
def folder(world: World) -> Iterator[Path]:
    folder = attempt_folder(world.root)
    for name in ("function", "home", "inputs", "outputs"):
        (folder / name).mkdir()
    yield folder
    assert registry.make(world.settings).end(folder, 0.0)


def job(folder: Path, source: str, seconds: float = 600.0) -> Job:
    (folder / "function" / "function.py").write_text(source)
    lease = folder.with_name("lease")
    lease.touch()
    os.utime(lease, (clock() + seconds,) * 2)
    return Job(folder, ["python3", "function.py"], LIMITS, lease=lease, image=Image(IMAGE), told=False)


def run(world: World, wanted: Job) -> Outcome | None:
    executor = registry.make(world.settings)
    executor.start(wanted)
    outcome = wait_until(lambda: executor.outcome(wanted.folder, 0.1), timeout=60, message="its end")
    executor.end(wanted.folder, 0.0)
    return outcome


def test_the_walls_of_a_container(world: World, folder: Path) -> None:
    tells = """
import json, os, pathlib, resource
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
def writable(path):
    try:
        pathlib.Path(path, "x").write_text("x")
    except OSError:
        return False
    return True
print(json.dumps({
    "capabilities": [status["CapBnd"], status["CapEff"]],
    "no new privileges": status["NoNewPrivs"],
    "filtered": status["Seccomp"],
    "writable": [path for path in ("/", "/etc", "/usr", "/run", "/var/tmp", "/inputs", "/outputs", "/tmp", "/function")
                 if writable(path)],
    "devices": os.listdir("/sys/class/net"),
    "files": resource.getrlimit(resource.RLIMIT_FSIZE)[1],
    "ids": sorted(int(name) for name in os.listdir("/proc") if name.isdecimal())[:1],
    "environment": sorted(os.environ),
}))
"""
    outcome = run(world, job(folder, tells))
    said = (folder / "log").read_text()
    assert outcome is not None
    assert outcome.exit_code == 0, said
    told = json.loads(said)
    assert told["capabilities"] == ["0" * 16, "0" * 16]
    assert told["no new privileges"] == "1"
    assert told["filtered"] == "2"
    assert told["writable"] == ["/outputs", "/tmp", "/function"]
    assert told["devices"] == ["lo"]
    assert told["files"] == LIMITS.file_size
    assert told["ids"] == [1]
    assert not [name for name in told["environment"] if name.startswith("ORCHESTRATOR") or "proxy" in name.lower()]


def test_memory_is_limited_for_all_together_and_the_log_says_so(world: World, folder: Path) -> None:
    outcome = run(world, job(folder, "print('begins', flush=True); held = bytearray(300_000_000)"))
    assert outcome is not None
    assert outcome.exit_code == 128 + signal.SIGKILL
    assert "[it was killed, as what uses more than its 100000000 bytes of memory is]" in (folder / "log").read_text()


WORKER = """
import sys
from pathlib import Path
from workers.executors import registry
from workers.executors.executor import Job, Limits
from workers.executors.image import Image
from workers.settings import WorkerSettings
settings, folder, lease, image = WorkerSettings.model_validate_json(sys.argv[1]), *map(Path, sys.argv[2:4]), sys.argv[4]
executor = registry.make(settings)
limits = Limits(60.0, 0.5, None, 10**7)
executor.start(Job(folder, ["python3", "function.py"], limits, lease=lease, image=Image(image), told=False))
print("started", flush=True)
sys.stdin.read()
"""


def test_without_any_process_of_its_worker_it_ends_with_its_lease(world: World, folder: Path) -> None:
    wanted = job(folder, "import time; time.sleep(600)")
    assert wanted.lease is not None
    words = [world.settings.without_secrets(), str(folder), str(wanted.lease), IMAGE]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", WORKER, *words], **pipes) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "started\n"
        worker.kill()
    executor = registry.make(world.settings)
    assert executor.alive(folder), "its lease holds"
    os.utime(wanted.lease, (clock() - 1,) * 2)
    wait_until(lambda: not executor.alive(folder), timeout=60, message="its guard to end it")


def test_a_worker_that_starts_removes_containers_without_a_folder(world: World, folder: Path) -> None:
    executor = registry.make(world.settings)
    executor.start(job(folder, "import time; time.sleep(600)"))
    assert containers(world)
    away = folder.rename(folder.with_name("elsewhere"))
    registry.make(world.settings).check()
    assert containers(world) == []
    away.rename(folder)
    executor.end(folder, 0.0)


def test_an_engine_that_is_not_there_is_named(world: World) -> None:
    world.settings = world.settings.model_copy(update={"container_engine": "no-such-engine"})
    with pytest.raises(UnfitError, match="the container engine no-such-engine cannot be used"):
        registry.make(world.settings).check()
