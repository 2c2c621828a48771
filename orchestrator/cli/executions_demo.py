"""The demo of executions: data partners and a central node run stored schemas, and a table tells what came of it."""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import httpx
from rich.console import Console

from orchestrator.cli import story
from orchestrator.cli.connection import Target, connect
from orchestrator.cli.executions_stage import CENTRAL, PARTNERS, Stage
from orchestrator.cli.step_log import print_logs
from orchestrator.cli.story import StoryError, Telling
from orchestrator.cli.tables import table
from orchestrator.embedded.federation import Federation
from orchestrator.embedded.interruption import shielded
from orchestrator.embedded.ports import HOST

ITERATIONS = 3

_PATIENCE_SECONDS = 180.0
_LOOK_SECONDS = 0.2
_HTTP_SECONDS = 30.0
# Of ten digits every tenth is right by chance.
_GOOD = 0.8
_ENDED = ("succeeded", "failed")


@dataclass
class Run:
    """One execution of the demo.

    Args:
        what: it does, for people.
        where: it does it.
        wanted: the state in which it must end.
        id: of the execution.
        shown: as the API shows it last.
        begun: when it was started, by the monotonic clock.
        seconds: that it took, once it has ended.
        made: what it has made, for people.
    """

    what: str
    where: str
    wanted: str
    id: int
    shown: dict[str, Any]
    begun: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    made: str = ""

    @property
    def state(self) -> str:
        """Its state."""
        return str(self.shown["state"]["status"])

    @property
    def message(self) -> str:
        """Why it has failed."""
        return str(self.shown["state"].get("message", ""))


class Story:
    """What the demo does in its federation.

    Args:
        federation: it runs, and serves executions.
        stage: what is beside it.
        console: where to show what happens.
    """

    def __init__(self, federation: Federation, stage: Stage, console: Console) -> None:
        self.federation = federation
        self._stage = stage
        self._console = console
        api, maas = f"http://{federation.running.http_address}/api/", f"http://{stage.maas}/api/"
        self._client = httpx.Client(base_url=api, timeout=_HTTP_SECONDS, trust_env=False)
        self._maas = httpx.Client(base_url=maas, timeout=_HTTP_SECONDS, trust_env=False)
        self._runs: list[Run] = []

    @property
    def further(self) -> str:
        """Where one can go on."""
        return f"the API is at http://{self.federation.running.http_address}/api/"

    def tell(self) -> list[str]:
        """Run it, print its table, and return what is not as it should be; see `Story.tell`."""
        for name, store in self.federation.running.stores.items():
            with self.federation.running.client(name) as client:
                client.register_organization(store)
        kafka = f"{HOST}:{self.federation.places.kafka_port}"
        for name in ("train", "federated", "evaluate", "infer"):
            workflow = (f"{name}.yaml", self._stage.workflow(name, kafka))
            self._sent("schemas/", self._stage.schema(name), {"auxiliary_file": workflow})
        self._console.print("Stored 4 schemas; starting executions of them")
        one, two = self._stage.partners
        alone = self._start("trains", one.name, "train", {one.name: one.asked(one.learned)}, made="alone")
        broken = self._start(
            "is told nonsense",
            two.name,
            "train",
            {two.name: two.asked(two.learned)},
            made="nothing",
            user_vars={"learning_rate": "fast"},
            wanted="failed",
        )
        shared = self._start(
            f"trains in {ITERATIONS} iterations",
            f"{one.name}, {two.name}, {CENTRAL}",
            "federated",
            {each.name: each.asked(each.learned) for each in (one, two)},
            made="shared",
            user_vars={"epochs": 100},
        )
        self._await(alone, broken, shared)
        measured = []
        for run in (alone, shared):
            if (model := _model(run)) is not None:
                what = f"measures the model of execution {run.id}"
                measured.append(self._start(what, two.name, "evaluate", {two.name: two.asked(two.kept)}, model=model))
        reading = None
        if (model := _model(shared)) is not None:
            reading = self._start("reads images that are sent along", CENTRAL, "infer", {}, model=model)
        self._await(*measured, *([reading] if reading else []))
        return self._report(measured, reading, broken)

    def _start(
        self,
        what: str,
        where: str,
        name: str,
        partners: Mapping[str, object],
        *,
        made: str = "",
        model: int | None = None,
        user_vars: Mapping[str, object] | None = None,
        wanted: str = "succeeded",
    ) -> Run:
        inputs: dict[str, Any] = {"platform_data": {"data_partners_patients": partners}} if partners else {}
        if name == "federated":
            inputs["federated_learning_configuration"] = {"number_iterations": ITERATIONS}
        described = {"name": f"digits-{made}", "description": 'It reads "digits"', "merge_type": "mean"}
        asked = {
            "schema": f"digits-{name}",
            "input_elements": inputs,
            "ai_elements": {
                "ai_engines": [{"descriptor": "main", "version": 4, **({"ai_model": model} if model else {})}]
            },
            "output_elements": {"ai_model": described} if made else {},
        }
        files = {"main_version_user_vars": ("vars.json", json.dumps(user_vars or {}).encode())}
        if name == "infer":
            files["external_data"] = ("images.zip", self._stage.sent)
        shown = self._sent("executions/", json.dumps(asked), files)
        run = Run(what, where, wanted, shown["id"], shown)
        self._runs.append(run)
        self._console.print(f"  execution {run.id} {what} at {where}")
        return run

    def _sent(self, path: str, data: str, files: Mapping[str, tuple[str, bytes]]) -> dict[str, Any]:
        answer = self._client.post(path, files={"data": (None, data), **files})
        if answer.status_code != httpx.codes.CREATED:
            raise StoryError(f"POST /api/{path} was answered {answer.status_code}: {answer.text}")
        return dict(answer.json())

    def _await(self, *runs: Run) -> None:
        """Follow executions until each has ended; whoever is not then in time is as it is."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        left = list(runs)
        while left and time.monotonic() < deadline:
            self.federation.check()
            for run in list(left):
                before = run.state
                run.shown = self._client.get(f"executions/{run.id}/").json()
                if run.state != before:
                    self._console.print(f"  execution {run.id} is {run.state}")
                if run.state in _ENDED:
                    run.seconds = time.monotonic() - run.begun
                    left.remove(run)
            time.sleep(_LOOK_SECONDS)

    def _report(self, measured: list[Run], reading: Run | None, broken: Run) -> list[str]:
        accuracies = {run.id: self._accuracy(run) for run in measured}
        for run in self._runs:
            run.made = self._made(run)
        right = self._right(reading) if reading else 0
        if reading is not None and reading.state == "succeeded":
            reading.made += f": {right} of {len(self._stage.shown)} right"
        rows = [
            (str(run.id), _schema(run), run.where, run.what, run.state, f"{run.seconds:.1f} s", run.message or run.made)
            for run in self._runs
        ]
        columns = ("id", "schema", "where", "what it does", "state", "time", "what came of it")
        self._console.print(table(*columns, rows=rows, whole=("id", "state", "time"), folded=("what came of it",)))
        self._console.print(f"Why execution {broken.id} has failed, by `orchestrator execution logs {broken.id}`:")
        self._print_log(broken)
        faults = [
            f"execution {run.id} is {run.state}{f' ({run.message})' if run.message else ''}, and not {run.wanted}"
            for run in self._runs
            if run.state != run.wanted
        ]
        faults += [
            f"the model that execution {run} measured reads {accuracy:.0%} of the images"
            for run, accuracy in accuracies.items()
            if accuracy < _GOOD
        ]
        if right < _GOOD * len(self._stage.shown):
            faults.append(f"{right} of {len(self._stage.shown)} images were read right")
        return faults

    def _made(self, run: Run) -> str:
        found = run.shown["output_elements"]
        words = []
        if (model := _model(run)) is not None:
            words.append(f"model {model}")
        for each in found.get("evaluation_metrics", ()):
            metric = self._maas.get(f"evaluation_metrics/{_id(each['evaluation_metric'])}/").json()
            if metric["name"].startswith("accuracy"):
                words.append(f"{metric['name']} {metric['value']:.3f}")
        if "generic_file" in found and isinstance(found["generic_file"], dict):
            words.append(f"file {_id(found['generic_file']['generic_file'])}")
        return ", ".join(words)

    def _accuracy(self, run: Run) -> float:
        for each in run.shown["output_elements"].get("evaluation_metrics", ()):
            metric = self._maas.get(f"evaluation_metrics/{_id(each['evaluation_metric'])}/").json()
            if metric["name"] == "accuracy":
                return float(metric["value"])
        return 0.0

    def _right(self, reading: Run) -> int:
        """Return how many of the images that were sent along were read right."""
        found = reading.shown["output_elements"].get("generic_file")
        if not isinstance(found, dict):
            return 0
        read = self._maas.get(f"generic_files/{_id(found['generic_file'])}/download/").json()
        return sum(read[name] == digit for name, digit in zip(sorted(read), self._stage.shown, strict=True))

    def _print_log(self, run: Run) -> None:
        target = Target(self.federation.folder, None, None, None, None, None, None, None, False)
        access = target.resolve()
        sys.stdout.flush()
        with connect(access) as client:
            print_logs(access, client, run.id, None, None, follow=False, raw=False)
        sys.stdout.flush()


@contextmanager
def staged(telling: Telling) -> Iterator[story.Story]:
    """Run the federation of the demo, with all that is beside it."""
    stage = Stage()
    try:
        with Federation(
            telling.folder,
            [*PARTNERS, CENTRAL],
            data=telling.place,
            settings={"MAAS_API_HOSTNAME": stage.maas, "VALIDATE_WITH_MAAS": "true"},
            flower=False,
            executions=CENTRAL,
            prepare=stage.prepare,
            tell=telling.say,
        ) as federation:
            stage.await_ready()
            yield Story(federation, stage, telling.console)
    finally:
        with shielded():
            stage.stop()


def _schema(run: Run) -> str:
    return unquote(str(run.shown["schema"]).rstrip("/").rpartition("/")[2])


def _id(url: str) -> int:
    return int(url.rstrip("/").rpartition("/")[2])


def _model(run: Run) -> int | None:
    """Return the id of the model that an execution has made."""
    if run.state != "succeeded":
        return None
    found = run.shown["output_elements"].get("ai_model", {}).get("ai_model")
    return None if found is None else _id(found)
