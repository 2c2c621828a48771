"""The demo of problems: six modules solve one in three ways, one of them dies and one is slow, and a table tells."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from examples import modules as example
from orchestrator.cli import story
from orchestrator.cli.story import StoryError, Telling
from orchestrator.cli.tables import table
from orchestrator.embedded.federation import Federation
from orchestrator.embedded.interruption import shielded
from orchestrator.embedded.ports import free_port
from orchestrator.embedded.problems import Served
from orchestrator.embedded.processes import Process

ORGANIZATION = "laboratory"
WAYS = 3
"""How many alternatives the user asks for."""

_KINDS = {
    "metadata": "ML_MODEL_METADATA",
    "requirements": "APP_REQUIREMENTS",
    "constraints": "HW_CONSTRAINTS",
    "model": "ML_MODEL",
    "resources": "HW_RESOURCES",
    "carbon": "CARBON_FOOTPRINT",
}
_SLOW, _SLOW_LIMIT, _MEASURED = "HW_RESOURCES", 1.0, 2.5
_DIES = 2
"""The iteration in whose midst a module is killed."""

_PATIENCE_SECONDS = 120.0
_LOOK_SECONDS = 0.05
_HTTP_SECONDS = 30.0
_INPUT = {
    "problem_short_description": "read handwritten digits",
    "problem_definition": "Tell which digit is on a small image of handwriting, on a sensor with a battery.",
    "modality": "tabular",
    "inputs": ["an image of 8 x 8"],
    "outputs": ["a digit"],
    "minimum_samples": 1,
    "maximum_samples": 2000,
    "geo_location_continent": "Europe",
    "geo_location_region": "Spain",
    "extra_data": {"num_outputs": WAYS, "hardware_required": "this machine", "max_memory_footprint": 200},
}


@dataclass(frozen=True)
class Module:
    """A module script that runs.

    Args:
        kind: of module.
        name: of the module.
        process: of the script.
    """

    kind: str
    name: str
    process: Process


class Story:
    """The demo, told to a terminal.

    Args:
        federation: it runs, and serves problems.
        modules: their scripts run.
        console: where it is told.
    """

    def __init__(self, federation: Federation, modules: list[Module], console: Console) -> None:
        self.federation = federation
        self._modules = modules
        self._console = console
        self._killed: Module | None = None
        self._shown: dict[tuple[int, str], str] = {}
        self._client = httpx.Client(
            base_url=federation.running.problems["address"], timeout=_HTTP_SECONDS, trust_env=False
        )

    @property
    def further(self) -> str:
        """Where one can go on."""
        return f"front ends find it at {self.federation.running.problems['address']}"

    def tell(self) -> list[str]:
        """Tell it; return what has gone wrong, in a few words each; see `Story.tell`."""
        with self._client:
            self._await(self._all_idle, "not all modules are ready: see module-….log of the logs")
            self._console.print(f"Six kinds of modules are ready: {', '.join(_KINDS.values())}")
            words = _INPUT["problem_short_description"]
            self._console.print(f"A user asks for {WAYS} ways to {words}")
            sent = self._call("POST", "/user_input", _INPUT)
            problem = sent["task_id"]["problem_id"]
            self._await(lambda: self._look(problem), "the problem does not end")
            return self._report([self._iteration(problem, number) for number in range(1, WAYS + 1)])

    def _call(self, method: str, path: str, document: Any = None) -> Any:
        answer = self._client.request(method, path, json=document)
        if answer.is_error:
            raise StoryError(f"{method} {path}: {answer.json().get('error', answer.status_code)}")
        return answer.json()

    def _await(self, condition: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not condition():
            self.federation.check()
            for module in self._modules:
                if module is not self._killed:
                    module.process.check()
            if time.monotonic() > deadline:
                raise StoryError(f"after {_PATIENCE_SECONDS:g} s {otherwise}")
            time.sleep(_LOOK_SECONDS)

    def _all_idle(self) -> bool:
        nodes = self._call("GET", "/api/nodes")["nodes"]
        idle = {(node["kind"], each["name"]) for node in nodes for each in node["replicas"] if each["status"] == "IDLE"}
        return {(module.kind, module.name) for module in self._modules} <= idle

    def _iteration(self, problem: int, number: int) -> Any:
        return self._call("GET", f"/api/problems/{problem}/iterations/{number}")

    def _look(self, problem: int) -> bool:
        """Tell what is new; return whether all is over."""
        known = self._call("GET", f"/api/problems/{problem}")["iterations"]
        latest = self._iteration(problem, len(known))
        for stage in latest["stages"]:
            self._say(len(known), stage)
        if len(known) == _DIES and self._killed is None:
            self._kill(next(stage for stage in latest["stages"] if stage["kind"] == "ML_MODEL"))
        ended = latest["status"] not in ("WAITING", "RUNNING")
        return ended and latest["next_task_id"] is None

    def _say(self, number: int, stage: Mapping[str, Any]) -> None:
        said = f"{stage['status']}{' slow' if stage['slow'] else ''} {stage['attempt']}"
        if self._shown.get((number, stage["kind"])) == said:
            return
        self._shown[number, stage["kind"]] = said
        if stage["slow"] and stage["status"] == "RUNNING":
            self._console.print(f"  {number}: {stage['kind']} is slow: it runs for more than {_SLOW_LIMIT:g} s")
        elif stage["status"] == "RUNNING" and stage["attempt"] > 1:
            self._console.print(f"  {number}: {stage['kind']} runs again, on {stage['replica']}")
        elif stage["status"] == "SUCCEEDED" and stage["kind"] == "ML_MODEL":
            self._console.print(f"  {number}: ML_MODEL chose {stage['output']['model']}, on {stage['replica']}")
        elif stage["status"] == "ERROR":
            self._console.print(f"  {number}: {stage['kind']} has failed: {stage['error']['message']}")

    def _kill(self, stage: Mapping[str, Any]) -> None:
        if stage["status"] != "RUNNING":
            return
        self._killed = next(each for each in self._modules if (each.kind, each.name) == ("ML_MODEL", stage["replica"]))
        os.kill(self._killed.process.pid, signal.SIGKILL)
        self._console.print(f"  {_DIES}: ML_MODEL runs on {self._killed.name}, whose process is killed now")

    def _report(self, iterations: list[Any]) -> list[str]:
        rows, faults, models = [], [], []
        for found in iterations:
            stages = {stage["kind"]: stage for stage in found["stages"]}
            made = {kind: stage["output"] or {} for kind, stage in stages.items()}
            model, hardware, carbon = made["ML_MODEL"], made["HW_RESOURCES"], made["CARBON_FOOTPRINT"]
            models.append(model.get("model"))
            remarks = [f"{kind} slow" for kind, stage in stages.items() if stage["slow"]]
            remarks += [f"{kind} again, after a loss" for kind, stage in stages.items() if stage["attempt"] > 1]
            number = found["task_id"]["iteration_id"]
            rows.append(
                (
                    str(number),
                    found["status"],
                    str(model.get("model")),
                    _score(model),
                    _number(hardware.get("latency"), "ms"),
                    _number(hardware.get("memory_footprint_of_ml_model"), "MB"),
                    _number(carbon.get("energy_consumption"), "kWh"),
                    _number(carbon.get("carbon_footprint"), "g"),
                    ", ".join(remarks),
                )
            )
            if found["status"] != "SUCCEEDED":
                faults.append(f"iteration {number} is {found['status']}")
        columns = ("way", "state", "model", "score", "latency", "size", "energy", "carbon", "what happened")
        self._console.print(table(*columns, rows=rows, whole=("way", "state", "model"), folded=("what happened",)))
        self._console.print("Latency and size are measured; energy and carbon, of a million predictions, estimated")
        faults += self._report_modules()
        if len({*models}) != WAYS:
            faults.append(f"the models are not {WAYS} different ones: {', '.join(map(str, models))}")
        if not any("slow" in row[-1] for row in rows):
            faults.append("no stage was shown as slow")
        if not any("again" in row[-1] for row in rows):
            faults.append("no stage ran again after its module was killed")
        return faults

    def _report_modules(self) -> list[str]:
        self._await(self._is_gone, "the module that was killed is not shown as gone")
        nodes = self._call("GET", "/api/nodes")["nodes"]
        rows = [
            (f"{node['kind']}/{each['name']}", each["status"], "killed by this demo" if self._is_killed(each) else "")
            for node in nodes
            for each in node["replicas"]
        ]
        self._console.print(table("module", "state", "", rows=rows))
        return [] if self._killed else ["no module was at work when one was to be killed"]

    def _is_killed(self, replica: Mapping[str, Any]) -> bool:
        return self._killed is not None and replica["name"] == self._killed.name

    def _is_gone(self) -> bool:
        if self._killed is None:
            return True
        replicas = self._call("GET", f"/api/nodes/{self._killed.kind}")["replicas"]
        return any(each["status"] == "INACTIVE" for each in replicas if self._is_killed(each))


@contextmanager
def staged(telling: Telling) -> Iterator[story.Story]:
    """Run the federation of the demo, and its modules."""
    settings = {
        "PROBLEMS_SOFT_LIMITS": f"{_SLOW}={_SLOW_LIMIT:g}s",
        "SLOW_STAGE_PERIOD": "500ms",
        "LOST_POKE_AGE": "2s",
        "LOST_POKE_PERIOD": "1s",
    }
    folder, place = telling.folder, telling.place
    served = Served(ORGANIZATION, port=free_port())
    started: list[Module] = []
    with Federation(
        folder, [ORGANIZATION], data=place, settings=settings, flower=False, problems=served, tell=telling.say
    ) as federation:
        try:
            telling.say("Starting a script for each kind of module, and a second for ML_MODEL")
            for script, kind in [*_KINDS.items(), ("model", "ML_MODEL")]:
                name = f"{script}-{1 + sum(each.kind == kind for each in started)}"
                started.append(Module(kind, name, _script(folder, place, script, name)))
                started[-1].process.start()
            yield Story(federation, started, telling.console)
        finally:
            # Before the orchestrator, to which they give back what they do.
            with shielded():
                for module in started:
                    module.process.stop()


def _script(folder: Path, place: Path, script: str, name: str) -> Process:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ORCHESTRATOR_")}
    return Process(
        name,
        [sys.executable, str(Path(example.__file__).parent / f"{script}.py")],
        log=place / "logs" / f"module-{name}.log",
        env=environment
        | {
            # It has a folder of its own to run in.
            "ORCHESTRATOR_DATA": str(folder.resolve()),
            "SUSTAINML_NODE_NAME": name,
            "MEASURE_SECONDS": f"{_MEASURED:g}",
            "OMP_NUM_THREADS": "1",
        },
        cwd=place,
        stop_signal=signal.SIGINT,
    )


def _score(model: Mapping[str, Any]) -> str:
    properties = json.loads(model.get("model_properties") or "{}")
    measured = [(name, properties[name]) for name in ("accuracy", "R2") if name in properties]
    return ", ".join(f"{name} {value:.3f}" for name, value in measured)


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.3g} {unit}"
