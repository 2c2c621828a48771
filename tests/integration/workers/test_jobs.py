"""Attempts as jobs of a small cluster (see `tests.kit.cluster`): whole tasks, and one that is busy or loses answers."""

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import protos as pb
from tests.kit import engines
from tests.kit.cluster import LOSE, Cluster
from tests.kit.temporary import attempt_folder
from tests.kit.waiting import wait_until
from tests.kit.world import TRAINS, World
from workers.executors import registry, watch
from workers.executors.executor import Ending, Job, Limits, Outcome, Shared, UnfitError
from workers.executors.image import Image
from workers.executors.kubernetes import Jobs
from workers.executors.lease import clock
from workers.executors.manifest import run_name

LIMITS = Limits(time=60.0, grace=0.5, memory=None, file_size=10_000_000)
STEP = "registry.example.org/engine:1.4"
# The step's own image, by its digest.
PINNED = f"registry.example.org/engine@sha256:{'0' * 64}"


@pytest.fixture
def cluster(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A small cluster, in which the functions of the world run."""
    if "KUBECONFIG" in os.environ:
        pytest.skip(
            "a real cluster cannot be told to lose answers: tests/integration/workers/test_executors.py uses it"
        )
    with engines.small_cluster(world.root, monkeypatch) as (served, more):
        world.settings = world.settings.model_copy(update={"executor": "kubernetes", **more})
        yield served


@pytest.fixture
def folder(world: World) -> Path:
    folder = attempt_folder(world.root)
    for name in ("function", "home", "inputs", "outputs"):
        (folder / name).mkdir()
    return folder


def job(folder: Path, source: str, seconds: float = 600.0) -> Job:
    (folder / "function" / "function.py").write_text(source)
    lease = folder.with_name("lease")
    lease.touch()
    os.utime(lease, (clock() + seconds,) * 2)
    command = ["python3", "function.py"]
    return Job(folder, command, LIMITS, lease=lease, image=Image("python:3.11"), told=False)


def run(world: World, wanted: Job) -> Outcome:
    return watch.run(registry.make(world.settings), wanted, threading.Event())


def test_a_task_runs_as_a_job_that_is_locked_up(world: World, cluster: Cluster) -> None:
    world.claim(world.function(TRAINS))
    world.run()
    ((completed,),) = (world.recorded.completed,)
    assert completed.performances[0].performance_value == 0.25
    (made,) = [found for _, kind, what, found in cluster.events if (kind, what) == ("jobs", "ADDED")]
    assert made["metadata"]["labels"]["orchestrator/task"] == world.task
    assert "token" not in json.dumps(made).replace("orchestrator/token", "").replace("automountServiceAccountToken", "")
    pod = made["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    assert container["image"] == "python:3.11"
    writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {"/function", "/tmp", "/outputs", "/dev/shm", str(world.seen)}
    assert not cluster.objects["jobs"]
    assert not cluster.objects["pods"]


def test_what_a_function_says_is_kept_when_it_fails(world: World, cluster: Cluster) -> None:
    world.claim(world.function("print('on my way'); raise SystemExit(3)"))
    world.run()
    failed, said = world.failure()
    assert failed.error_type == pb.ERROR_TYPE_EXECUTION
    assert said.startswith("on my way\n")
    assert "code 3" in said


def test_an_image_that_is_not_admitted_is_no_functions(world: World, cluster: Cluster) -> None:
    function = world.function(TRAINS)
    function.metadata["image"] = "registry.example.org/anything:1"
    world.claim(function)
    world.run()
    failed, said = world.failure()
    assert failed.error_type == pb.ERROR_TYPE_BUILD
    assert "none of those in which functions run here" in said
    assert "POST jobs" not in cluster.calls


def test_without_an_image_nothing_runs(world: World, cluster: Cluster) -> None:
    world.settings = world.settings.model_copy(update={"function_image": None})
    world.claim(world.function(TRAINS))
    world.run()
    assert "builds no images, and the function names none" in world.failure()[1]


def test_a_container_step_runs_its_own_image_where_the_map_says_so(world: World, cluster: Cluster) -> None:
    tells = "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ['MODEL_DIR']]))"
    cluster.programs[PINNED] = ["python3", "-c", tells]
    images = f"{STEP}: {{image: '{PINNED}', env: [MODEL_DIR]}}"
    world.claim_step(STEP, "--patients", "$(HOME)", env={"MODEL_DIR": "/tmp/model"}, images=images)
    world.run()
    assert world.recorded.completed, world.said
    assert json.loads(world.said) == [["--patients", "$$(HOME)"], "/tmp/model"], "the small cluster replaces nothing"


def test_a_command_of_the_map_needs_another_executor(world: World, cluster: Cluster) -> None:
    world.claim_step(STEP, images=f"{STEP}: {{command: [/bin/sh]}}")
    world.run()
    (failed,) = world.recorded.failed
    assert "its executor kubernetes runs no commands" in failed.reason


@pytest.mark.parametrize(
    "faults",
    [
        [("POST jobs", LOSE)],
        [("POST jobs", 429), ("POST jobs", 503)],
        [("DELETE jobs", LOSE), ("DELETE jobs", 409)],
        [("GET watch", 410), ("GET watch", 500), ("GET log", 500)],
        [("GET pods", LOSE), ("GET pods", 429)],
    ],
    ids=lambda faults: "+".join(f"{words}={status}" for words, status in faults),
)
def test_a_run_comes_through_what_a_cluster_does(
    world: World, cluster: Cluster, folder: Path, faults: list[tuple[str, int]]
) -> None:
    cluster.faults += faults
    source = "import pathlib; pathlib.Path('/outputs/found').open('a').write('once'); print('said')"
    assert run(world, job(folder, source)) == Outcome(Ending.EXITED, 0)
    assert not cluster.faults
    assert (folder / "outputs" / "found").read_text() == "once"
    assert (folder / "log").read_text() == "said\n"
    assert not cluster.objects["jobs"]


def test_what_the_cluster_forgot_is_listed_again(world: World, cluster: Cluster, folder: Path) -> None:
    executor = registry.make(world.settings)
    executor.start(job(folder, "import pathlib, time\nwhile not pathlib.Path('/inputs/go').exists(): time.sleep(0.02)"))
    wait_until(lambda: "GET watch" in cluster.calls and cluster.objects["pods"], message="the pod to be watched")
    cluster.forget()
    listed = cluster.calls.count("GET pods")
    wait_until(lambda: cluster.calls.count("GET pods") > listed, message="pods to be listed again")
    (folder / "inputs" / "go").touch()
    outcome = wait_until(lambda: executor.outcome(folder, 0.1), message="its end")
    assert outcome == Outcome(Ending.EXITED, 0)
    assert executor.end(folder, 0.0)


def test_another_job_of_its_name_is_not_taken_for_its_own(world: World, cluster: Cluster, folder: Path) -> None:
    with cluster.changed:
        cluster.create({"metadata": {"name": run_name(folder)}, "spec": {"suspend": True}})
    executor = registry.make(world.settings)
    with pytest.raises(OSError, match="there is another job"):
        executor.start(job(folder, ""))


def test_without_its_worker_the_cluster_ends_it_when_its_lease_is_over(
    world: World, cluster: Cluster, folder: Path
) -> None:
    executor = registry.make(world.settings)
    assert isinstance(executor, Jobs)
    executor.start(job(folder, "import time; time.sleep(600)", seconds=3.0))
    # Nobody asks for its outcome, as if the worker were gone.
    wait_until(lambda: ("pods", "ADDED") in [each[1:3] for each in cluster.events], message="it to run")
    wait_until(lambda: not cluster.objects["pods"], timeout=60, message="the cluster to end it")
    assert not registry.make(world.settings).alive(folder)
    assert executor.end(folder, 0.0)


def test_the_deadline_moves_with_the_lease(world: World, cluster: Cluster, folder: Path) -> None:
    executor = registry.make(world.settings)
    wanted = job(folder, "import time; time.sleep(600)", seconds=100.0)
    executor.start(wanted)
    (made,) = cluster.objects["jobs"].values()
    assert 40 <= made["spec"]["activeDeadlineSeconds"] <= 100
    assert wanted.lease is not None
    os.utime(wanted.lease, (clock() + 1000,) * 2)
    wait_until(lambda: executor.outcome(folder, 0.0) is None and made["spec"]["activeDeadlineSeconds"] > 900)
    assert executor.end(folder, 0.0)


def test_what_was_suspended_begins_with_nothing_of_before(world: World, cluster: Cluster, folder: Path) -> None:
    executor = registry.make(world.settings)
    source = "import os, time; print(os.listdir('/outputs'), flush=True); open('/outputs/model', 'w'); time.sleep(600)"
    executor.start(job(folder, source))
    model = folder / "outputs" / "model"
    wait_until(model.exists, message="it to begin")
    executor.pause(folder)
    wait_until(lambda: executor.outcome(folder, 0.0) is None and not cluster.objects["pods"], message="no pod")
    assert executor.alive(folder)
    executor.resume(folder)
    wait_until(lambda: executor.outcome(folder, 0.0) is None and cluster.objects["pods"], message="another pod")
    wait_until(model.exists, message="it to begin anew")
    assert executor.end(folder, 0.0)
    assert (folder / "log").read_text().splitlines() == [
        "[]",
        "[it was suspended, since its lease was over, and begins anew]",
        "[]",
    ]


def test_an_image_that_cannot_be_had_ends_the_wait(world: World, cluster: Cluster, folder: Path) -> None:
    world.settings = world.settings.model_copy(update={"kubernetes_start_limit": 0.1})
    executor = registry.make(world.settings)
    cluster.held = True
    executor.start(job(folder, ""))
    with pytest.raises(OSError, match="does not begin: ImagePullBackOff: no such image"):
        wait_until(lambda: executor.outcome(folder, 0.1), timeout=60, message="it to be given up")
    assert executor.end(folder, 0.0)


def test_what_no_volume_holds_cannot_be_seen(world: World, cluster: Cluster, folder: Path) -> None:
    wanted = replace(job(folder, ""), paths=(Shared(Path("/srv"), writable=False),))
    with pytest.raises(OSError, match="a job cannot see /srv: it lies in none of the volumes"):
        registry.make(world.settings).start(wanted)


def test_a_worker_that_starts_ends_jobs_without_a_folder(world: World, cluster: Cluster, folder: Path) -> None:
    executor = registry.make(world.settings)
    executor.start(job(folder, "import time; time.sleep(600)"))
    folder.rename(folder.with_name("elsewhere"))
    registry.make(world.settings).check()
    assert not cluster.objects["jobs"]
    assert not cluster.objects["pods"]


def test_a_worker_without_rights_says_so(world: World, cluster: Cluster) -> None:
    cluster.faults.append(("GET jobs", 403))
    with pytest.raises(UnfitError, match="the worker's service account needs the rights"):
        registry.make(world.settings).check()
