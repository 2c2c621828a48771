"""Module scripts as real processes, and a federation that serves problems: built once, for a folder of tests."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from orchestrator import protos as pb
from orchestrator.embedded.federation import Federation, remove_data
from orchestrator.embedded.ports import free_port
from orchestrator.embedded.problems import Served
from orchestrator.problems import graph
from tests.kit.database import opened
from tests.kit.deployment import Deployment
from tests.kit.waiting import wait_until

ORGANIZATION = "org-a"
CLASSES = {
    "APP_REQUIREMENTS": "AppRequirementsNode",
    "CARBON_FOOTPRINT": "CarbonFootprintNode",
    "HW_CONSTRAINTS": "HardwareConstraintsNode",
    "HW_RESOURCES": "HardwareResourcesNode",
    "ML_MODEL_METADATA": "MLModelMetadataNode",
    "ML_MODEL": "MLModelNode",
}
SETTINGS = {
    "RETRY_BACKOFF": "100ms",
    "PROBLEMS_GRACE": "2s",
    "PROBLEMS_TIME_LIMIT": "120s",
    "PROBLEMS_SET_ASIDE": 0,
    "DUE_RETRY_PERIOD": "1s",
    "EXPIRED_LEASE_PERIOD": "1s",
    "PROBLEMS_LARGEST_OUTPUT": 6_000_000,
    # A server that starts beside many tests may take longer than modules are missed for by default.
    "MODULE_SILENCE": "60s",
    "PROBLEMS_HARD_LIMITS": "CARBON_FOOTPRINT=10s",
    "LOST_POKE_AGE": "1s",
    "LOST_POKE_PERIOD": "1s",
}

# As module scripts have it; what a task does is said by a file of its id.
_SCRIPT = """
import ctypes, json, multiprocessing, os, signal, subprocess, sys, threading, time
from pathlib import Path
from sustainml_py.nodes.{class_} import {class_}
KIND, FOLDER = "{kind}", Path({folder!r})
running = False
state = {{"tasks": 0}}

def on_sigint(number, frame):
    {class_}.terminate()
    global running; running = False

def in_child(user_input):
    (FOLDER / "children").mkdir(exist_ok=True)
    (FOLDER / "children" / str(os.getpid())).write_text(str(user_input.task_id()))

def do(what, inputs, status, output):
    word, _, value = what.partition(":")
    if word == "raise":
        raise ValueError(value)
    if word == "exit":
        sys.exit(value)
    if word == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "error":
        status.node_status(1); status.error_description(value)
    if word == "sleep":
        time.sleep(float(value))
    if word == "poll":
        while not status.cancelled():
            time.sleep(0.01)
    if word == "loop":
        while True:
            time.sleep(0.01)
    if word == "hang":
        while True:
            try:
                time.sleep(0.2)
            except BaseException:
                pass
    if word == "hold":
        ctypes.PyDLL(None).sleep(600)
    if word == "until":
        while not any(call.split()[:1] + call.split()[-3:-2] == [KIND, value] for call in (FOLDER / "calls").open()):
            time.sleep(0.01)
    if word == "child":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (FOLDER / "child").write_text(str(child.pid))
        child.wait()
    if word == "fork":
        child = multiprocessing.get_context("fork").Process(target=in_child, args=(inputs[0],))
        child.start(); child.join(); assert child.exitcode == 0, child.exitcode
    if word == "big":
        output.raw_model(bytes(int(value)))
    if word == "size":
        output.hw_description(str(inputs[0].raw_model().size()))
    if word == "secret":
        output.extra_data(bytes(inputs[-1].extra_data()))

def task(*arguments):
    *inputs, status, output = arguments
    state["tasks"] += 1
    with (FOLDER / "calls").open("a") as calls:
        calls.write(f"{{KIND}} {{status.task_id()}} {{status.node_name()}} {{os.getpid()}} {{len(inputs)}}\\n")
    for name in (f"{{KIND}}-{{status.task_id()}}", KIND):
        said = FOLDER / name
        if said.exists():
            what = said.read_text()
            if what.startswith("once "):
                said.unlink(); what = what.removeprefix("once ")
            do(what, inputs, status, output)

def configuration(req, res):
    if req.configuration() == "raise":
        raise ValueError("no such thing")
    if req.configuration() == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    res.node_id(99); res.transaction_id(99)
    res.configuration(json.dumps({{"asked": req.configuration(), "tasks": state["tasks"], "pid": os.getpid()}}))

def run():
    node = {class_}(callback=task, service_callback=configuration)
    global running; running = True
    node.spin()

if __name__ == "__main__":
    signal.signal(signal.SIGINT, on_sigint)
    runner = threading.Thread(target=run); runner.start()
    while running: time.sleep(1)
    runner.join()
"""


class Script:
    """A module script that runs.

    Args:
        stage: to which it belongs.
        kind: of module.
        name: of the module.
        more: of its environment.
    """

    def __init__(self, stage: "Modules", kind: str, name: str, more: Mapping[str, str]) -> None:
        file = stage.folder / f"{kind.lower()}.py"
        file.write_text(_SCRIPT.format(class_=CLASSES[kind], kind=kind, folder=str(stage.folder)))
        self.kind, self.name = kind, name
        self.log = stage.folder / f"{kind.lower()}-{name}.log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(file)],
                cwd=stage.folder,
                env={
                    **environment,
                    "ORCHESTRATOR_DATA": str(stage.federation.folder),
                    "ORCHESTRATOR_LOG_LEVEL": "INFO",
                    "SUSTAINML_NODE_NAME": name,
                    **more,
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The id of its process."""
        return self.process.pid

    def end(self, number: signal.Signals = signal.SIGINT, timeout: float = 60.0) -> int:
        """Send it a signal, and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout)

    def said(self) -> str:
        """Its log."""
        return self.log.read_text()


class Modules:
    """A federation that serves problems, and whatever module scripts a test starts.

    Args:
        folder: an empty one.
        settings: more of the server's.
    """

    def __init__(self, folder: Path, settings: Mapping[str, object] | None = None) -> None:
        self.folder = folder / "modules"
        self.folder.mkdir()
        served = Served(ORGANIZATION, ("domain-0", "domain-7"), free_port())
        self.federation = Federation(
            folder / "federation",
            [ORGANIZATION],
            settings={**SETTINGS, **(settings or {})},
            flower=False,
            problems=served,
        )
        self.scripts: list[Script] = []
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as held:
            held.callback(remove_data, self.federation.data)
            held.enter_context(self.federation)
            self._reading = held.enter_context(contextlib.ExitStack())
            self.reopen()
            held.callback(self._end)
            self._held = held.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def reopen(self) -> None:
        """Open the database, whose connections end with its server."""
        self._reading.close()
        database = self._reading.enter_context(opened(self.federation.places.database_url))
        self.deployment = Deployment(database, organization=ORGANIZATION, channel=self.federation.channel)

    def start(self, kind: str, name: str = "first", **more: str) -> Script:
        """Start a module script."""
        script = Script(self, kind, name, more)
        self.scripts.append(script)
        return script

    def started(self, kind: str, name: str = "first", **more: str) -> Script:
        """Start a module script, and wait until it takes stages."""
        script = self.start(kind, name, **more)
        self.await_state(kind, name, "IDLE")
        return script

    def replica(self, kind: str, name: str) -> pb.Replica:
        """How a module is; blank where it was never seen."""
        (found,) = [each for each in self.deployment.kinds().values() if graph.KINDS[each.kind].name == kind]
        return next((each for each in found.replicas if each.name == name), pb.Replica())

    def state(self, kind: str, name: str = "first") -> str:
        """The state of a module."""
        return pb.ModuleState.Name(self.replica(kind, name).state).removeprefix("MODULE_")

    def await_state(self, kind: str, name: str, state: str, timeout: float = 60.0) -> None:
        """Wait until a module is in a state."""
        wait_until(lambda: self.state(kind, name) == state, timeout, f"{kind}/{name} {state}")

    def say(self, kind: str, what: str, task: pb.TaskId | None = None) -> None:
        """Say what a kind does for a task, or for all."""
        ending = f"-{{{task.problem_id}, {task.iteration_id}}}" if task else ""
        (self.folder / f"{kind}{ending}").write_text(what)

    def silence(self) -> None:
        """Take back what kinds were told to do."""
        for kind in CLASSES:
            for file in self.folder.glob(f"{kind}*"):
                if file.suffix != ".py":
                    file.unlink()

    def calls(self, kind: str = "", task: pb.TaskId | None = None) -> list[list[str]]:
        """The calls of callbacks: kind, task, module, process, number of inputs."""
        file = self.folder / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        found = [line.replace(", ", ",").split() for line in lines]
        wanted = f"{{{task.problem_id},{task.iteration_id}}}" if task else ""
        return [each for each in found if kind in ("", each[0]) and wanted in ("", each[1])]

    def submit(self, extra: dict[str, Any] | None = None, *, start: bool = True, **more: Any) -> pb.TaskId:
        """Submit a problem, and start it."""
        return self.deployment.submit(extra, start=start, **more).task_id

    def ended(self, task: pb.TaskId, timeout: float = 60.0) -> pb.Iteration:
        """Wait until an iteration has ended, and return it."""
        open_states = (pb.STAGE_WAITING, pb.STAGE_RUNNING)
        try:
            wait_until(lambda: self.deployment.get(task).state not in open_states, timeout)
        except AssertionError as error:
            said = "\n".join(f"{each.kind}/{each.name}: {each.said()[-2000:]}" for each in self.scripts)
            raise AssertionError(f"{error}: {self.deployment.get(task)}\n{said}") from error
        return self.deployment.get(task)

    def stage(self, task: pb.TaskId, kind: str) -> pb.Stage:
        """How a stage is."""
        return next(each for each in self.deployment.get(task).stages if graph.KINDS[each.kind].name == kind)

    def _end(self) -> None:
        for script in self.scripts:
            if script.process.poll() is None:
                script.process.send_signal(signal.SIGINT)
        for script in self.scripts:
            try:
                script.process.wait(30)
            except subprocess.TimeoutExpired:
                script.process.kill()
                script.process.wait()


@contextlib.contextmanager
def six(modules: Modules) -> Iterator[dict[str, Script]]:
    """Have one module of each kind."""
    scripts = {kind: modules.start(kind) for kind in CLASSES}
    for kind in CLASSES:
        modules.await_state(kind, "first", "IDLE")
    yield scripts
