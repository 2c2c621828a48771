"""What is prepared before a task is known: it runs like a fresh start, is used once, and leaves nothing behind."""

import os
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from orchestrator import protos as pb
from orchestrator.core.pokes import RUN_TASK
from orchestrator.embedded.valkey import Valkey
from tests.kit.node import node
from tests.kit.processes import lives
from tests.kit.recorded import serving
from tests.kit.waiting import wait_until
from tests.kit.world import World
from workers.channels import connect
from workers.consent.decisions import Kind, decide
from workers.consent.declines import Asking
from workers.consent.policy import Consent
from workers.executors import watch
from workers.executors.executor import Ending, Job, Limits, Outcome, Preparing
from workers.executors.local import Local
from workers.executors.sandbox import SandboxBox
from workers.run import attempt
from workers.run.slot import FOLDERS, Slot

LIMITS = Limits(time=60.0, grace=0.5, memory=None, file_size=10_000_000)
TELLS = """
import os
outputs["model"].write_text(os.readlink("/proc/self/ns/mnt"))
outputs["score"].write_text('{"all": 1}')
assert not os.path.exists("/tmp/left")
pathlib.Path("/tmp/left").touch()
"""


class Prepared:
    """A run whose sandbox is set up before its function is there, and one beside it that is not."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.executor = Local(SandboxBox())

    def run(self, files: dict[str, str], command: list[str], *, prepare: bool) -> tuple[Outcome, str]:
        folder = self.root / uuid.uuid4().hex
        for name in FOLDERS:
            (folder / name).mkdir(parents=True)
        before = folder
        if prepare:
            assert self.executor.prepare(folder, LIMITS)
            assert self.executor.prepared(folder, 30.0)
            folder = folder.rename(folder.with_name("renamed-" + folder.name))
        for name, text in files.items():
            (folder / "function" / name).write_text(text)
        job = Job(folder, command, replace(LIMITS, time=30.0), prepared=before if prepare else None)
        outcome = watch.run(self.executor, job, threading.Event())
        assert not self.executor.alive(folder)
        return outcome, (folder / "log").read_text()


FACTS = """
import sys
known = sorted(sys.modules)
import __main__, os, stat
kept = {"__annotations__", "__builtins__", "__cached__", "__doc__", "__file__", "__loader__", "__name__", "__package__"}
print(sys.argv, sys.path, sys.orig_argv, sys.executable, sys.flags, known)
print(sorted(kept & set(vars(__main__))), __name__, __file__, __spec__, type(__loader__), __loader__.path, __doc__)
print(sorted(os.environ.items()), os.getcwd(), sorted(os.listdir("/proc/self/fd")), os.getpgrp() == os.getpid())
print([line for line in open("/proc/self/status") if line.startswith(("Sig", "Cap", "Seccomp:", "NoNew", "Groups"))])
print(sorted((line.split()[4], line.split()[5]) for line in open("/proc/self/mountinfo")))
print(open("/proc/self/limits").read())
"""
RAISES = "def f():\n    raise ValueError('no')\n\nf()\n"


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({"f.py": FACTS}, ["python3", "f.py", "--name", "ä b"]),
        ({"f.py": FACTS}, ["python", "./f.py"]),
        ({"f.py": FACTS}, ["python3", "-u", "f.py"]),
        ({"f.py": RAISES}, ["python3", "f.py"]),
        ({"f.py": "def f(:"}, ["python3", "f.py"]),
        ({"f.py": "import sys; sys.exit('ends')"}, ["python3", "f.py"]),
        ({"f.py": "import os, signal; os.kill(os.getpid(), signal.SIGINT)"}, ["python3", "f.py"]),
        ({"f.py": "import atexit; atexit.register(print, 'late'); print(end='no line')"}, ["python3", "f.py"]),
        ({}, ["python3", "missing.py"]),
        ({}, ["sh", "-c", 'echo "$0 $@"; kill -9 $$', "word"]),
        ({"f.py": "import mate; print(mate.x)", "mate.py": "x = 1"}, ["python3", "f.py"]),
    ],
    ids=[
        "script",
        "other name",
        "option",
        "raises",
        "wrong",
        "exits",
        "interrupted",
        "late",
        "missing",
        "sh",
        "import",
    ],
)
def test_a_command_runs_as_it_would_without(tmp_path: Path, files: dict[str, str], command: list[str]) -> None:
    prepared = Prepared(tmp_path)
    fresh, waited = (prepared.run(files, command, prepare=prepare) for prepare in (False, True))
    assert waited == fresh


def test_a_program_that_is_not_there_is_explained(tmp_path: Path) -> None:
    outcome, said = Prepared(tmp_path).run({}, ["no-such-program"], prepare=True)
    assert outcome == Outcome(Ending.EXITED, 127)
    assert "no-such-program" in said


def test_a_launcher_takes_one_run_after_another_and_keeps_nothing_of_them(tmp_path: Path) -> None:
    others = psutil.Process().children()
    prepared = Prepared(tmp_path)
    kept = []
    for prepare in (True, True, False):
        outcome, _ = prepared.run({"f.py": "print(1)"}, ["python3", "f.py"], prepare=prepare)
        assert outcome == Outcome(Ending.EXITED, 0)
        (server,) = set(psutil.Process().children()) - set(others)
        (launcher,) = server.children()
        wait_until(lambda: launcher.cwd() == "/", message="it to be free")  # noqa: B023
        kept.append((launcher, sorted(str(each.readlink()) for each in Path(f"/proc/{launcher.pid}/fd").iterdir())))
    assert kept == [kept[0]] * 3
    # One that had to end another is not as it was.
    folder = tmp_path / "ended"
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
    job = Job(folder, ["sleep", "600"], replace(LIMITS, time=0.1), told=False)
    assert watch.run(prepared.executor, job, threading.Event()).ending is Ending.TIMED_OUT
    wait_until(lambda: not server.children(), message="it to end")


def namespace(process: psutil.Process) -> str:
    """Say which files a process sees."""
    return str(Path(f"/proc/{process.pid}/ns/mnt").readlink())


def launches(process: psutil.Process, folder: Path) -> bool:
    """Say whether it is a launcher, for a run in one of a node's folders."""
    return "launch.py" in " ".join(process.cmdline()) and Path(process.cwd()).is_relative_to(folder)


class Place:
    """One slot of a world's worker."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.slot = Slot(world.settings)

    def claim(self) -> pb.ClaimTaskResponse:
        """Let the world's task read no data sample: what is prepared shows none."""
        function = self.world.function(TELLS)
        claim = self.world.claim(function)
        del claim.input_assets[:]
        return claim

    def run(self) -> None:
        with self.world.agent(), connect(self.world.settings) as channels:
            asking = Asking(channels, Consent.of(self.world.settings))
            attempt.run(self.world.settings, asking, self.slot, self.world.task, 2, claimed=lambda: None)

    def waiting(self) -> psutil.Process:
        """Wait until something waits, and has said so; return its process."""
        self.slot.prepare()
        (folder,) = (path for path in self.world.settings.node_folder.glob("spare-*") if path.is_dir())
        executor = self.slot.executor
        assert isinstance(executor, Preparing)
        assert executor.prepared(folder, 30.0)
        return wait_until(self._found, timeout=30, message="what waits in a sandbox")

    def _found(self) -> psutil.Process | None:
        own = namespace(psutil.Process())
        for process in psutil.Process().children(recursive=True):
            # One of an attempt before may end meanwhile; a worker of another fixture prepares too.
            with suppress(psutil.Error, OSError):
                ours = any(launches(each, self.world.settings.node_folder) for each in process.parents())
                if ours and process.name().startswith("python") and namespace(process) != own:
                    return process
        return None

    def told(self) -> list[str]:
        models = (self.world.store / "models").glob("*")
        return [text for text in (model.read_text() for model in models) if text.startswith("mnt")]


@pytest.fixture
def place(world: World) -> Iterator[Place]:
    place = Place(world)
    yield place
    place.slot.close()
    assert not list(world.settings.node_folder.glob("*"))


def test_each_attempt_runs_in_one_that_no_other_had(place: Place) -> None:
    namespaces, processes = [], set()
    for _ in range(2):
        place.world.task = str(uuid.uuid4())
        place.claim()
        process = place.waiting()
        namespaces.append(namespace(process))
        processes.add(process)
        place.run()
        assert not lives(process)
    assert sorted(place.told()) == sorted(namespaces)
    assert len(processes) == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("which", ["what waits", "its launcher"])
def test_when_it_has_died_the_attempt_starts_afresh(place: Place, which: str, number: int) -> None:
    place.claim()
    process = place.waiting()
    launcher = next(each for each in process.parents() if "launch.py" in " ".join(each.cmdline()))
    (process if which == "what waits" else launcher).send_signal(number)
    wait_until(lambda: not lives(process), message="it to die")
    # The worker is told of its end by whoever forked the launcher, and has buried it.
    wait_until(lambda: not launcher.is_running(), message="its launcher to be buried")
    place.run()
    assert len(place.told()) == 1
    assert place.world.recorded.completed


def test_when_what_forks_launchers_has_died_the_next_ones_are_forked_by_another(place: Place) -> None:
    place.claim()
    waiting = {process.pid for process in place.waiting().parents()}
    (server,) = (process for process in psutil.Process().children() if process.pid in waiting)
    server.kill()
    server.wait()
    place.run()
    assert len(place.told()) == 1
    place.waiting()


def test_what_reads_data_samples_gets_a_sandbox_of_its_own(place: Place) -> None:
    claim = place.world.claim(place.world.function(TELLS))
    assert claim.input_assets
    process = place.waiting()
    place.run()
    assert place.told() != [namespace(process)]
    assert lives(process)


def test_without_consent_nothing_of_a_function_comes_near_it(place: Place) -> None:
    claim = place.claim()
    process = place.waiting()
    (folder,) = place.world.settings.node_folder.glob("spare-*/function")
    decide(place.world.settings.decisions_file, Kind.FUNCTIONS, claim.function.archive.checksum, approved=False)
    place.run()
    assert len(place.world.recorded.declined) == 1
    assert not place.world.recorded.completed
    assert lives(process)
    assert not list(folder.iterdir())


@contextmanager
def _served(tmp_path: Path) -> Iterator[World]:
    with serving() as (recorded, address):
        world = World(tmp_path, recorded, address)
        world.settings.organization = f"org-{uuid.uuid4()}"
        recorded.lease = 600.0
        yield world


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("whom", ["worker", "child"])
def test_when_a_worker_ends_nothing_that_it_prepared_is_left(
    tmp_path: Path, valkey: Valkey, number: int, whom: str
) -> None:
    with _served(tmp_path) as world, node(world, valkey.url) as worker:
        claim = world.claim(world.function(TELLS))
        del claim.input_assets[:]
        worker.poke(RUN_TASK, task=world.task, attempt=2)
        wait_until(lambda: world.recorded.completed, message="the task")
        (spare,) = wait_until(lambda: list(world.settings.node_folder.glob("spare-*.owner")), message="the next sandbox")
        agent = worker.agent()
        (child,) = worker.children().keys() - {agent}
        prepared = wait_until(lambda: psutil.Process(child).children(recursive=True), message="its processes")
        os.kill(child if whom == "child" else worker.process.pid, number)
        wait_until(lambda: not any(lives(each) for each in prepared), message="all processes to end")
        if (whom, number) != ("worker", signal.SIGKILL):
            wait_until(lambda: not spare.exists() and not spare.with_suffix("").exists(), message="its folder to go")
