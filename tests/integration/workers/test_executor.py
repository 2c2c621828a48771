"""Functions written with substratools, good and bad, run by the subprocess executor."""

import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.kit.waiting import wait_until
from workers.errors import ExecutionFault
from workers.executors import watch
from workers.executors.executor import Ending, Job, Limits, Outcome, Resource
from workers.executors.local import Local
from workers.executors.subprocess import OpenBox, short_home
from workers.folder import working_folder
from workers.run import outputs

ROOT = Path(__file__).parents[3]
LIMITS = Limits(time=60.0, grace=0.5, memory=None, file_size=10_000_000)

FUNCTIONS = """
import json, os, pathlib, subprocess, sys, time
import substratools as tools

@tools.register
def train(inputs, outputs, task_properties):
    numbers = [float(pathlib.Path(p).read_text()) for p in inputs["models"]]
    samples = inputs["datasamples"]
    pathlib.Path(outputs["model"]).write_text(str(sum(numbers) + sum(samples) + task_properties["rank"]))
    tools.save_performance(0.5, outputs["accuracé"])
    print("trained with", sys.executable)

@tools.register
def exits(inputs, outputs, task_properties):
    print("about to fail")
    sys.exit(1)

@tools.register
def forgets(inputs, outputs, task_properties):
    os._exit(0)

@tools.register
def makes_folder(inputs, outputs, task_properties):
    pathlib.Path(outputs["model"]).mkdir()
    os._exit(0)

@tools.register
def links(inputs, outputs, task_properties):
    pathlib.Path(outputs["model"]).symlink_to("/etc/passwd")
    os._exit(0)

@tools.register
def never_ends(inputs, outputs, task_properties):
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    children(outputs)
    while True:
        time.sleep(60)

@tools.register
def leaves_children(inputs, outputs, task_properties):
    children(outputs)
    os._exit(0)

def children(outputs):
    # One in our group, and one that its parent leaves behind in a session of its own.
    hides = (
        "import subprocess; quiet = subprocess.DEVNULL; "
        "print(subprocess.Popen(['sleep', '600'], start_new_session=True, stdout=quiet).pid)"
    )
    first = subprocess.Popen(["sleep", "600"])
    second = subprocess.run([sys.executable, "-c", hides], stdout=subprocess.PIPE, check=True, text=True)
    partial = pathlib.Path("pids.partial")
    partial.write_text(f"{os.getpid()} {first.pid} {second.stdout}")
    partial.rename("pids")

@tools.register
def writes_much(inputs, outputs, task_properties):
    with open(outputs["model"], "wb") as file:
        for _ in range(20):
            file.write(bytes(1_000_000))

@tools.register
def allocates_much(inputs, outputs, task_properties):
    bytearray(4_000_000_000)

@tools.register
def tells(inputs, outputs, task_properties):
    pathlib.Path(outputs["model"]).write_text(json.dumps({"env": dict(os.environ), "cwd": os.getcwd()}))

if __name__ == "__main__":
    tools.execute()
"""

WORKER = """
import sys, threading
from pathlib import Path
from workers.executors import watch
from workers.executors.executor import Job, Limits, Resource
from workers.executors.local import Local
from workers.executors.subprocess import OpenBox
folder = Path(sys.argv[1])
limits = Limits(60.0, 0.5, None, 10**7)
outputs = [Resource("model", folder / "outputs" / "0", False)]
watch.run(Local(OpenBox()), Job(folder, sys.argv[2:], limits, outputs=outputs), threading.Event())
"""

OPENER = """
import pathlib
import substratools as tools

class Opener(tools.Opener):
    def get_data(self, folders):
        return [float((pathlib.Path(folder) / "x").read_text()) for folder in folders]

    def fake_data(self, n_samples):
        return []
"""


class Place:
    """A working folder with the functions in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("function", "home", "outputs", "inputs"):
            (folder / name).mkdir()
        (folder / "function" / "function.py").write_text(textwrap.dedent(FUNCTIONS))
        self.model = Resource("model", folder / "outputs" / "0", False)
        self.performance = Resource("accuracé", folder / "outputs" / "1", False)
        self.log = folder / "log"
        self.stop = threading.Event()

    def run(self, name: str, inputs: tuple[Resource, ...] = (), limits: Limits = LIMITS) -> Outcome:
        outputs = [self.model, self.performance]
        command = ["python3", "function.py", "--function-name", name]
        return self.run_command(command, limits, inputs, outputs)

    def run_command(
        self, command: list[str], limits: Limits, inputs: Sequence[Resource] = (), outputs: Sequence[Resource] = ()
    ) -> Outcome:
        return watch.run(Local(OpenBox()), Job(self.folder, command, limits, 3, inputs, outputs), self.stop)

    def pids(self) -> list[int]:
        return [int(pid) for pid in (self.folder / "function" / "pids").read_text().split()]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    yield Place(tmp_path)
    # A worker that was killed leaves it to the cleanup of its task.
    short_home(tmp_path / "home").unlink(missing_ok=True)


def test_a_substratools_function_runs_unchanged(place: Place) -> None:
    given = []
    for number in (1, 2):
        model = place.folder / "inputs" / f"model{number}"
        model.write_text(str(number))
        given.append(Resource("models", model, True))
        sample = place.folder / "inputs" / f"sample {number}"
        sample.mkdir()
        (sample / "x").write_text(str(number * 10))
        given.append(Resource("datasamples", sample, True))
    opener = place.folder / "inputs" / "__init__.py"
    opener.write_text(OPENER)
    given.append(Resource("opener", opener, False))
    outcome = place.run("train", tuple(given))
    assert outcome == Outcome(Ending.EXITED, 0), place.log.read_text()
    outputs.check([place.model, place.performance], LIMITS.file_size)
    assert place.model.path.read_text() == "36.0"
    assert outputs.read_performance(place.performance) == 0.5
    assert "trained with" in place.log.read_text()


def test_the_exit_code_and_the_output_are_kept(place: Place) -> None:
    assert place.run("exits") == Outcome(Ending.EXITED, 1)
    assert "about to fail" in place.log.read_text()


def test_a_command_that_does_not_exist_is_explained(place: Place) -> None:
    assert place.run_command(["no-such-program"], LIMITS) == Outcome(Ending.EXITED, 127)
    assert "'no-such-program' cannot be started" in place.log.read_text()


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("forgets", "has not written its output 'model'"),
        ("makes_folder", "output 'model' is a folder"),
        ("links", "output 'model' is a link"),
    ],
)
def test_an_output_that_is_no_file_is_the_functions_fault(place: Place, name: str, complaint: str) -> None:
    assert place.run(name) == Outcome(Ending.EXITED, 0)
    with pytest.raises(ExecutionFault, match=complaint):
        outputs.check([place.model], LIMITS.file_size)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"all": "1"}', '{"all": true}', '{"all": 1e39}', '{"all": 1e400}', "\x00"],
)
def test_a_performance_that_is_no_number_is_the_functions_fault(place: Place, content: str) -> None:
    place.performance.path.write_text(content)
    with pytest.raises(ExecutionFault, match="is not a JSON file of the form"):
        outputs.read_performance(place.performance)


@pytest.mark.parametrize("content", ["NaN", "Infinity", "-Infinity", "-1.5", "3", "3.4e38"])
def test_every_number_of_the_contract_is_kept(place: Place, content: str) -> None:
    place.performance.path.write_text(f'{{"all": {content}}}')
    assert str(outputs.read_performance(place.performance)) == str(float(content))


def test_the_time_limit_ends_everything(place: Place) -> None:
    assert place.run("never_ends", limits=replace(LIMITS, time=5.0)).ending is Ending.TIMED_OUT
    assert len(place.pids()) == 3
    assert not any(psutil.pid_exists(pid) for pid in place.pids())


def test_a_stop_order_ends_everything(place: Place) -> None:
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(place.run("never_ends")))
    thread.start()
    wait_until((place.folder / "function" / "pids").exists, message="the function's children to start")
    start = time.monotonic()
    place.stop.set()
    thread.join()
    assert outcomes == [Outcome(Ending.STOPPED)]
    assert time.monotonic() - start < 10
    assert not any(psutil.pid_exists(pid) for pid in place.pids())


def test_children_do_not_outlive_the_function(place: Place) -> None:
    assert place.run("leaves_children") == Outcome(Ending.EXITED, 0)
    assert len(place.pids()) == 3
    assert not any(psutil.pid_exists(pid) for pid in place.pids())


def test_a_file_cannot_grow_beyond_the_limit(place: Place) -> None:
    assert place.run("writes_much") == Outcome(Ending.EXITED, 1)
    assert "File too large" in place.log.read_text()
    assert place.model.path.stat().st_size <= LIMITS.file_size


def test_memory_is_limited(place: Place) -> None:
    outcome = place.run("allocates_much", limits=replace(LIMITS, memory=2_000_000_000))
    assert outcome == Outcome(Ending.EXITED, 1)
    assert "MemoryError" in place.log.read_text()


def test_the_environment_is_clean(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_BROKER_URL", "redis://:secret@host")
    assert place.run("tells") == Outcome(Ending.EXITED, 1)  # substratools misses the other output
    told = place.model.path.read_text()
    assert "secret" not in told
    assert "ORCHESTRATOR" not in told
    assert f'"HOME": "{place.folder / "home"}"' in told
    assert f'"cwd": "{place.folder / "function"}"' in told


def test_the_function_dies_with_a_worker_that_is_killed(place: Place) -> None:
    command = ["python3", "function.py", "--function-name", "never_ends"]
    with subprocess.Popen([sys.executable, "-c", WORKER, str(place.folder), *command]) as worker:
        try:
            wait_until((place.folder / "function" / "pids").exists, 30, message="the function's children to start")
        finally:
            worker.kill()
    wait_until(
        lambda: not any(psutil.pid_exists(pid) for pid in place.pids()), message="the function's processes to end"
    )


def test_working_folders_are_gone_afterwards_whatever_their_mode(tmp_path: Path) -> None:
    with working_folder(tmp_path, "task") as folder:
        (folder / "locked" / "deep").mkdir(parents=True)
        (folder / "locked" / "deep" / "file").touch()
        (folder / "locked" / "link").symlink_to("/etc")
        (folder / "locked").chmod(0)
    assert not list(tmp_path.iterdir())


def test_the_launcher_needs_the_standard_library_alone() -> None:
    code = "import sys; from workers.executors.launcher import forkserver; print(*sys.modules)"
    words = [sys.executable, "-IS", "-c", f"import sys; sys.path.append({str(ROOT)!r}); {code}"]
    loaded = {name.partition(".")[0] for name in subprocess.check_output(words, text=True).split()}
    assert loaded - set(sys.stdlib_module_names) == {"__main__", "workers"}
    assert not loaded & {"pathlib", "dataclasses", "inspect"}, "each function waits for them"
