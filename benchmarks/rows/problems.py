"""Problems: their submission, six modules that work through them, replicas, and those who wait for a result.

The yardstick of a submission is an answer of the same server with nothing behind it; that of two replicas is one.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import partial
from typing import Any

import httpx

from benchmarks.errors import BenchError
from benchmarks.exchanges import PLAIN, Exchange, drive
from benchmarks.measure import Number, Numbers, Row
from benchmarks.network import metered
from benchmarks.side import Side
from benchmarks.sizes import Sizes
from benchmarks.stage import Stage

_MOST_CLIENTS = 8
_SECONDS = 300.0
_PAUSE = "1"
"""Seconds that the callback takes whose replicas are counted."""
_CARBON = 1
_ROOT = Exchange("GET", "/")
_SUBMISSION = Exchange(
    "POST",
    "/user_input",
    b'{"problem_short_description": "a bench", "modality": "tabular", "inputs": ["numbers"], "outputs": ["a number"]}',
    "application/json",
)

_CLASSES = (
    "AppRequirementsNode",
    "CarbonFootprintNode",
    "HardwareConstraintsNode",
    "HardwareResourcesNode",
    "MLModelMetadataNode",
    "MLModelNode",
)
_MODEL = _CLASSES[-1]
_SCRIPT = """
import importlib, signal, sys, threading, time
name, pause = sys.argv[1:]
Module = getattr(importlib.import_module(f"sustainml_py.nodes.{name}"), name)
running = True

def on_sigint(number, frame):
    global running
    Module.terminate()
    running = False

def run():
    Module(callback=lambda *_: time.sleep(float(pause)), service_callback=lambda *_: None).spin()

signal.signal(signal.SIGINT, on_sigint)
runner = threading.Thread(target=run)
runner.start()
while running:
    time.sleep(0.2)
runner.join()
"""


def rows(sizes: Sizes) -> list[Row]:
    """Return the rows."""
    clients = [each for each in sizes.clients if each <= _MOST_CLIENTS]
    return [
        Row(
            "problems stages",
            f"{sizes.problems} problems at once, through six modules that do nothing, and who waits for each",
            _stages,
            needs="problems",
        ),
        Row(
            "problems replicas",
            f"{sizes.problems} problems, one of whose stages takes {_PAUSE} s: two replicas of its module against one",
            _replicas,
            needs="problems",
        ),
        # Last: what they submit waits for ever.
        *(
            Row(
                f"problems submit {count}",
                f"problems submitted as front ends do: {count} clients",
                partial(_submissions, count),
                needs="problems",
            )
            for count in clients
        ),
    ]


def _submissions(clients: int, stage: Stage, side: Side) -> Numbers:
    done, answers = (
        metered(stage, side, partial(stage.run, drive, side.problems, clients, lives, stage.sizes.seconds))
        for lives in ([[_SUBMISSION]] * stage.sizes.problems, [[_ROOT]] * stage.sizes.echoes)
    )
    if done.failures:
        raise BenchError(f"{done.failures} submissions were refused: {done.reason}")
    unit = "µs a submission"
    return {
        "submissions": Number(
            done.calls / done.seconds, "submissions/s", answers.calls / answers.seconds, "an answer with nothing behind"
        ),
        "submission, p95": Number(_p95(done.latencies), "ms", _p95(answers.latencies), "an answer's"),
        "server's processor": Number(
            done.server / done.calls * 1e6, unit, answers.server / answers.calls * 1e6, "an answer's"
        ),
        "Postgres' processor": Number(done.database / done.calls * 1e6, unit),
    }


def _stages(stage: Stage, side: Side) -> Numbers:
    with _present(side, _CLASSES) as http:
        seconds, late = _through(side, http, stage.sizes.problems)
    return {
        "problems": Number(stage.sizes.problems / seconds, "problems/s"),
        "stored to told, p50": Number(statistics.median(late) * 1000, "ms"),
        "stored to told, p95": Number(_p95(late), "ms"),
    }


def _replicas(stage: Stage, side: Side) -> Numbers:
    rates = []
    with _present(side, _CLASSES[:-1]), ExitStack() as models:
        for count in (1, 2):
            http = models.enter_context(_present(side, [_MODEL], f"replica-{count}", _PAUSE))
            seconds, _ = _through(side, http, stage.sizes.problems)
            rates.append(stage.sizes.problems / seconds)
    return {"problems": Number(rates[1], "problems/s", rates[0], "one replica")}


@contextmanager
def _present(side: Side, classes: Sequence[str], name: str = "bench", pause: str = "0") -> Iterator[httpx.Client]:
    """Have a module of each of some classes; give a client of the side's front ends.

    Args:
        side: whose server it is.
        classes: of the modules.
        name: of each module.
        pause: seconds that its callback takes.
    """
    with ExitStack() as held, httpx.Client(base_url=side.problems, **PLAIN) as http:
        for class_ in classes:
            held.callback(side.module(f"{class_}-{name}", _SCRIPT, class_, pause).stop)
        deadline = time.monotonic() + _SECONDS
        wanted = {f"{class_}-{name}" for class_ in classes}
        while not wanted <= _idle(http):
            if time.monotonic() > deadline:
                raise BenchError("a module of the bench did not come; see its log")
            time.sleep(0.1)
        yield http


def _idle(http: httpx.Client) -> set[str]:
    kinds = http.get("/api/nodes").json()["nodes"]
    return {each["name"] for kind in kinds for each in kind["replicas"] if each["status"] == "IDLE"}


def _through(side: Side, http: httpx.Client, count: int) -> tuple[float, list[float]]:
    """Submit problems at once, and wait for the last result of each.

    Returns the seconds until all had ended, and how many each of those who waited was told after its result was stored.
    """
    headers = {"Content-Type": _SUBMISSION.media}
    begun = time.perf_counter()
    tasks = [
        http.post(_SUBMISSION.path, content=_SUBMISSION.body, headers=headers).json()["task_id"] for _ in range(count)
    ]

    def told(task: dict[str, int]) -> float:
        with httpx.Client(base_url=side.problems, **PLAIN) as waiting:
            answer: dict[str, Any] = waiting.post("/results", json={"node_id": _CARBON, "task_id": task}).json()
            now = time.time()
            ((_, result),) = answer.items()
            if result["status"] != "SUCCEEDED":
                raise BenchError(f"a stage of the bench has ended {result['status']}: {result['error']}")
            path = f"/api/problems/{task['problem_id']}/iterations/{task['iteration_id']}"
            stages = waiting.get(path).json()["stages"]
            ended = next(each["ended_at"] for each in stages if each["kind"] == "CARBON_FOOTPRINT")
            return now - datetime.fromisoformat(ended).timestamp()

    with ThreadPoolExecutor(len(tasks)) as waiting:
        late = list(waiting.map(told, tasks))
    return time.perf_counter() - begun, late


def _p95(seconds: Sequence[float]) -> float:
    """Return the 95th percentile of some seconds, in ms."""
    return sorted(seconds)[int(0.95 * (len(seconds) - 1))] * 1000
