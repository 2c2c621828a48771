"""What every executor promises, once for each: the coming ones run through this module too."""

import importlib.metadata
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.kit import engines
from tests.kit.temporary import attempt_folder
from tests.kit.waiting import wait_until
from tests.kit.world import World
from workers.executors import registry, watch
from workers.executors.executor import Ending, Executor, Job, Limits, Outcome, Resource, UnfitError
from workers.executors.image import Imaging
from workers.executors.lease import clock
from workers.settings import WorkerSettings

PAGE = Path(__file__).parents[3] / "docs" / "extending" / "executor.md"
# The last is the example of the docs, which another package adds.
EXECUTORS = (*registry.OURS, "nice")
LIMITS = Limits(time=60.0, grace=0.5, memory=None, file_size=10_000_000)
LONG = 600.0

# By the file of arguments, as each function is told what it gets.
HEAD = """
import json, os, pathlib, signal, subprocess, sys, time
lines = pathlib.Path(sys.argv[1][1:]).read_text().splitlines()
properties = json.loads(lines[1])
inputs = {item["id"]: pathlib.Path(item["value"]) for item in json.loads(lines[3])}
outputs = {item["id"]: pathlib.Path(item["value"]) for item in json.loads(lines[5])}
"""
# Three processes that count; one has left its parent, with a session of its own and an empty environment.
COUNTS = """
signal.signal(signal.SIGTERM, lambda *_: outputs["heard"].touch())
def count(name):
    for number in range(10**9):
        draft = outputs["drafts"].with_name(name + ".draft")
        draft.write_text(str(number))
        draft.rename(outputs["drafts"].with_name(name))
        time.sleep(0.01)
if not os.fork():
    count("child")
if not os.fork():
    if os.fork():
        os._exit(0)
    os.setsid()
    os.environ.clear()
    count("hidden")
count("first")
"""
# Instead of the last line: until the others count.
WAITS = """
while not all(outputs["drafts"].with_name(name).exists() for name in ("child", "hidden")):
    time.sleep(0.01)
"""


def install_example(folder: Path) -> None:
    """Install the example of the docs as a package does that another organization writes."""
    text = PAGE.read_text()
    code, points = (re.findall(rf"```{kind}\n(.*?)```", text, re.S)[0] for kind in ("python", "toml"))
    (folder / "nice_executor.py").write_text(code)
    found = folder / "nice_executor-1.0.dist-info"
    found.mkdir()
    (found / "METADATA").write_text("Metadata-Version: 2.1\nName: nice-executor\nVersion: 1.0\n")
    group = re.search(r'entry-points\."(.+)"', points)
    name = re.search(r'(\w+) = "(.+)"', points)
    assert group is not None
    assert name is not None
    (found / "entry_points.txt").write_text(f"[{group[1]}]\n{name[1]} = {name[2]}\n")


@pytest.fixture
def installed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("site")
    install_example(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", os.fspath(folder))


class Stage:
    """One attempt's folder, and the executor that runs a function there."""

    def __init__(self, folder: Path, settings: WorkerSettings) -> None:
        self.folder = folder
        self.settings = settings
        self.executor: Executor = registry.make(settings)
        for name in ("function", "home", "inputs", "outputs"):
            (folder / name).mkdir()
        self.lease = folder.with_name("lease")
        self.lease.touch()
        self.renew(LONG)
        self.stop = threading.Event()
        self.threads = ThreadPoolExecutor(1)

    def renew(self, seconds: float) -> None:
        os.utime(self.lease, (clock() + seconds,) * 2)

    def job(self, source: str, limits: Limits = LIMITS, inputs: tuple[Resource, ...] = ()) -> Job:
        (self.folder / "function" / "function.py").write_text(HEAD + source)
        outputs = [Resource(name, self.folder / "outputs" / name, False) for name in ("found", "heard", "drafts")]
        image = None
        if isinstance(self.executor, Imaging):
            assert self.settings.function_image is not None
            image = self.executor.fetch(self.settings.function_image, lambda: None)
        return Job(self.folder, ["python3", "function.py"], limits, 3, inputs, outputs, lease=self.lease, image=image)

    def run(self, source: str, limits: Limits = LIMITS, inputs: tuple[Resource, ...] = ()) -> Outcome:
        return watch.run(self.executor, self.job(source, limits, inputs), self.stop)

    def begin(self, source: str, limits: Limits = LIMITS) -> Future[Outcome]:
        return self.threads.submit(self.run, source, limits)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def heard(self) -> bool:
        return (self.folder / "outputs" / "heard").exists()

    def found(self) -> str:
        return (self.folder / "outputs" / "found").read_text()

    def counted(self) -> list[int]:
        """Say how far each of the three processes has counted; nothing before all do."""
        files = [self.folder / "outputs" / name for name in ("first", "child", "hidden")]
        with suppress(FileNotFoundError):
            return [int(file.read_text()) for file in files]
        return []

    def goes_on(self) -> None:
        before = wait_until(self.counted, timeout=30, message="all to count")
        wait_until(
            # Nothing, where all begin anew.
            lambda: len(now := self.counted()) == 3 and all(map(int.__gt__, now, before)),
            timeout=30,
            message="all to count on",
        )

    def stands_still(self) -> bool:
        before, until = self.counted(), clock() + 0.3
        wait_until(lambda: clock() > until)
        return self.counted() == before

    def holds(self) -> None:
        wait_until(self.stands_still, timeout=60, message="all to stand still")


@pytest.fixture(params=EXECUTORS)
def stage(
    request: pytest.FixtureRequest, tmp_path: Path, installed: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    with engines.settings(request.param, tmp_path, monkeypatch) as more:
        yield from staged(request.param, tmp_path, more)


def staged(executor: str, tmp_path: Path, more: dict[str, Any]) -> Iterator[Stage]:
    settings = WorkerSettings(
        organization="org-1",
        channels=("known",),
        address="127.0.0.1:9",
        broker_url="redis://127.0.0.1:9",
        store_root=str(tmp_path / "store"),
        store_url="https://store.example.org",
        work_dir=tmp_path / "work",
        node="node-1",
        executor=executor,
        **more,
    )
    folder = attempt_folder(tmp_path)
    stage = Stage(folder, settings)
    try:
        stage.executor.check()
    except UnfitError as error:
        pytest.skip(str(error))
    yield stage
    stage.stop.set()
    stage.renew(-1)
    stage.threads.shutdown()
    assert stage.executor.end(folder, 0.0)


def test_a_function_reads_its_inputs_and_writes_its_outputs(stage: Stage, tmp_path: Path) -> None:
    model, sample = stage.folder / "inputs" / "model", tmp_path / "a sample"
    model.write_text("2")
    sample.mkdir()
    (sample / "x").write_text("40")
    given = (Resource("model", model, False), Resource("sample", sample, False))
    source = (
        'total = int(inputs["model"].read_text()) + int((inputs["sample"] / "x").read_text())\n'
        'outputs["found"].write_text(f"{total} {properties}")\n'
    )
    assert stage.run(source, inputs=given) == Outcome(Ending.EXITED, 0), stage.log
    assert stage.found() == "42 {'rank': 3}"


def test_it_sees_the_variables_of_its_attempt(stage: Stage) -> None:
    job = replace(stage.job('outputs["found"].write_text(os.environ["MINE"])'), variables={"MINE": "a=b c"})
    assert watch.run(stage.executor, job, stage.stop) == Outcome(Ending.EXITED, 0), stage.log
    assert stage.found() == "a=b c"


def test_how_it_ended_is_told_and_what_it_said_is_kept(stage: Stage) -> None:
    (stage.folder / "log").write_text("before\n")
    assert stage.run("print('said'); print('failed', file=sys.stderr); sys.exit(3)") == Outcome(Ending.EXITED, 3)
    assert sorted(stage.log.splitlines()) == ["before", "failed", "said"]


def test_the_signal_that_killed_it_is_told(stage: Stage) -> None:
    assert stage.run("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)") == Outcome(Ending.EXITED, 128 + 15)


def test_a_command_that_is_not_there_is_explained_in_the_log(stage: Stage) -> None:
    job = replace(stage.job(""), command=["no-such-program"])
    outcome = watch.run(stage.executor, job, stage.stop)
    assert outcome.ending is Ending.EXITED
    assert outcome.exit_code
    assert "no-such-program" in stage.log


def test_it_sees_nothing_of_the_workers_environment(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_BROKER_URL", "redis://:secret@host")
    assert stage.run('outputs["found"].write_text(str(dict(os.environ)))') == Outcome(Ending.EXITED, 0), stage.log
    assert "HOME" in stage.found()
    assert "secret" not in stage.found()


def test_while_it_runs_it_is_alive_and_has_no_outcome(stage: Stage) -> None:
    assert not stage.executor.alive(stage.folder)
    stage.executor.start(stage.job(COUNTS))
    stage.goes_on()
    assert stage.executor.outcome(stage.folder, 0.0) is None
    assert stage.executor.alive(stage.folder)
    assert stage.executor.end(stage.folder, 0.0)
    assert not stage.executor.alive(stage.folder)
    assert stage.stands_still()


def test_a_paused_function_lives_and_nothing_of_it_goes_on_until_it_is_resumed(stage: Stage) -> None:
    stage.executor.start(stage.job(COUNTS))
    stage.goes_on()
    stage.executor.pause(stage.folder)
    stage.holds()
    assert stage.executor.alive(stage.folder)
    assert stage.executor.outcome(stage.folder, 0.0) is None
    stage.executor.resume(stage.folder)
    stage.goes_on()


def test_it_runs_only_while_its_lease_holds(stage: Stage) -> None:
    outcome = stage.begin(COUNTS, replace(LIMITS, grace=60.0))
    stage.goes_on()
    stage.renew(-1)
    stage.holds()
    stage.renew(LONG)
    stage.goes_on()
    stage.renew(-1)
    stage.holds()
    stage.stop.set()
    assert outcome.result(60) == Outcome(Ending.STOPPED)
    # A pod is told so when it is suspended.
    if stage.settings.executor != "kubernetes":
        assert not stage.heard, "it may not run on to hear that it is to end"


def test_an_order_ends_all_that_it_started_after_it_was_heard(stage: Stage) -> None:
    outcome = stage.begin(COUNTS, replace(LIMITS, grace=3.0))
    stage.goes_on()
    stage.stop.set()
    assert outcome.result(60) == Outcome(Ending.STOPPED)
    assert stage.heard
    assert not stage.executor.alive(stage.folder)
    assert stage.stands_still()


def test_the_time_limit_ends_all_that_it_started(stage: Stage) -> None:
    # It must have begun by then, also where that takes its time.
    outcome = stage.begin(COUNTS, replace(LIMITS, time=15.0))
    stage.goes_on()
    assert outcome.result(60) == Outcome(Ending.TIMED_OUT)
    assert not stage.executor.alive(stage.folder)
    assert stage.stands_still()


def test_what_it_leaves_behind_ends_with_it(stage: Stage) -> None:
    leaves = COUNTS.replace('count("first")', 'outputs["drafts"].with_name("first").write_text("0")\n' + WAITS)
    assert stage.run(leaves) == Outcome(Ending.EXITED, 0)
    assert len(stage.counted()) == 3
    assert stage.stands_still()


def test_its_log_is_cut_to_its_limit_and_it_goes_on(stage: Stage) -> None:
    said = "print('the beginning'); [print('x' * 9999) for _ in range(500)]; print('the end')"
    assert stage.run(said, replace(LIMITS, log_size=1_000_000)) == Outcome(Ending.EXITED, 0)
    assert stage.log.startswith("the beginning\n")
    assert stage.log.endswith("the end\n")
    assert len(stage.log) < 1_001_000


def test_what_it_keeps_is_limited(stage: Stage) -> None:
    source = '[outputs["found"].with_name(str(n)).write_bytes(bytes(10**6)) for n in range(50)]; time.sleep(60)'
    outcome = stage.run(source, replace(LIMITS, folder_size=10_000_000))
    assert outcome.ending is Ending.EXCEEDED
    assert "10000000 bytes" in outcome.reason


def test_what_never_began_or_has_ended_can_be_ended(stage: Stage) -> None:
    for _ in range(2):
        assert stage.executor.end(stage.folder, 0.0)
    assert stage.run("pass") == Outcome(Ending.EXITED, 0)
    assert stage.executor.end(stage.folder, 0.0)


WORKER = """
import sys, threading
from pathlib import Path
from workers.executors import registry, watch
from workers.executors.executor import Job, Limits, Resource
from workers.executors.image import Image
from workers.settings import WorkerSettings
settings, folder, lease = WorkerSettings.model_validate_json(sys.argv[1]), *map(Path, sys.argv[2:])
outputs = [Resource(name, folder / "outputs" / name, False) for name in ("found", "heard", "drafts")]
job = Job(folder, ["python3", "function.py"], Limits(60.0, 0.5, None, 10**7), outputs=outputs, lease=lease,
    image=Image(settings.function_image or ""))
watch.run(registry.make(settings), job, threading.Event())
"""


def test_after_its_workers_death_others_see_whether_it_lives_and_end_it(stage: Stage) -> None:
    stage.job(COUNTS)
    words = [stage.settings.without_secrets(), os.fspath(stage.folder), os.fspath(stage.lease)]
    with subprocess.Popen([sys.executable, "-c", WORKER, *words]) as worker:
        try:
            stage.goes_on()
            assert stage.executor.alive(stage.folder)
        finally:
            worker.kill()
    assert stage.executor.end(stage.folder, 0.5)
    assert not stage.executor.alive(stage.folder)
    assert stage.stands_still()


def test_an_executor_of_another_package_runs_a_task(world: World, installed: None) -> None:
    assert "nice" in registry.names()
    assert "nice-executor" in {found.name for found in importlib.metadata.distributions()}
    world.settings.executor = "nice"
    told = "outputs['model'].write_text(str(os.nice(0))); outputs['score'].write_text('{\"all\": 1}')"
    world.claim(world.function(f"import os\n{told}"))
    world.run()
    ((completed,), models) = world.recorded.completed, list((world.store / "models").iterdir())
    (made,) = completed.models
    assert {path.name: path.read_text() for path in models}[made.key] == "19"


def test_an_executor_that_is_not_there_is_refused_by_name(world: World) -> None:
    given = world.settings.model_dump(exclude={"executor"})
    with pytest.raises(ValueError, match="not one of sandbox, subprocess"):
        WorkerSettings(**given, executor="sandbx")
    world.settings.executor = "sandbx"
    with pytest.raises(UnfitError, match="ORCHESTRATOR_EXECUTOR=sandbx: there is no such executor"):
        registry.make(world.settings)
