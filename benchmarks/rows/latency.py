"""Latency: from the Done of a parent to the start of its child's process, on an idle worker.

The parent is a task of `LEAD`, which the bench itself runs, with a model in the store of `LEAD`; the child is one of
the first site's worker. When its poke reached the broker, and when the worker got it, is told by the broker's monitor;
when it was claimed and when it was Done, by its events; how long was fetched, by its profile; and when it started, by
its output.

The yardstick is bare Celery on the same broker: from `apply_async` to the start of the task.
"""

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import redis

from benchmarks import bare
from benchmarks.errors import BenchError
from benchmarks.measure import Number, Numbers, Row
from benchmarks.network import plan, register, runnable
from benchmarks.requests import MODELS, TASKS, WORKER, new_model, new_task
from benchmarks.side import LEAD, SITES, Side
from benchmarks.sizes import Sizes
from benchmarks.stage import Stage
from orchestrator import protos as pb

_SECONDS = 60.0
_BODY = re.compile(r'\\*"body\\*": \\*"(?P<body>[A-Za-z0-9+/=]+)')
_BESIDE = "bare Celery"
_POLL_SECONDS = 0.02
_SHARES = (50, 95, 99)
_STAGES = ("commit", "relay", "broker", "claim", "fetch", "start", "run and report")
_FETCHES = ("prepare_function", "prepare_inputs")


def rows(sizes: Sizes) -> list[Row]:
    """Return the one row."""
    return [
        Row(
            "latency",
            f"Done of a parent to the start of its child's process, {sizes.latencies} times",
            _measure,
            tls=True,
            workers=True,
        )
    ]


@dataclass(frozen=True)
class _Sample:
    """Moments of the day in one child's way to its start.

    Args:
        child: its key.
        done: its parent's Done was sent.
        answered: and answered.
        claimed: the worker had claimed it.
        started: its function ran.
        ended: it was Done.
        fetched: seconds in which its function and its inputs were fetched; None where nothing tells.
    """

    child: str
    done: float
    answered: float
    claimed: float
    started: float
    ended: float
    fetched: float | None

    def stages(self, sent: Mapping[str, float], received: Mapping[str, float]) -> dict[str, float]:
        """Return the seconds of each stage that is known.

        Args:
            sent: when the broker got the poke, by child.
            received: when the worker got it.
        """
        found = {"commit": self.answered - self.done}
        if self.child in sent:
            # The poke may be on its way before the call's answer is read.
            found["relay"] = max(0.0, sent[self.child] - self.answered)
        if self.child in sent and self.child in received:
            found["broker"] = received[self.child] - sent[self.child]
            found["claim"] = self.claimed - received[self.child]
        if self.fetched is not None:
            found["fetch"] = self.fetched
            found["start"] = self.started - self.claimed - self.fetched
        found["run and report"] = self.ended - self.started
        return found


def _measure(stage: Stage, side: Side) -> Numbers:
    yardstick = stage.once("bare latency", lambda: _bare(stage))
    _sample(side)  # everything is warm
    sent: dict[str, float] = {}
    received: dict[str, float] = {}
    with _monitor(side.broker_url, sent, received):
        samples = [_sample(side) for _ in range(stage.sizes.latencies)]
    numbers: dict[str, Number] = {}
    for name, values in {
        "to its start": [sample.started - sample.done for sample in samples],
        "to its claim": [sample.claimed - sample.done for sample in samples],
    }.items():
        for share in _SHARES:
            beside = _percentile(yardstick, share)
            numbers[f"{name}, p{share}"] = Number(_percentile(values, share) * 1000, "ms", beside * 1000, _BESIDE)
    whole = [sample.ended - sample.claimed for sample in samples]
    for share in _SHARES:
        numbers[f"EXECUTING to DONE, p{share}"] = Number(_percentile(whole, share) * 1000, "ms")
    stages = [sample.stages(sent, received) for sample in samples]
    for name in _STAGES:
        values = [each[name] for each in stages if name in each]
        for share in _SHARES if values else ():
            numbers[f"of it {name}, p{share}"] = Number(_percentile(values, share) * 1000, "ms")
    return numbers


def _percentile(values: Sequence[float], share: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * share // 100)]


def _sample(side: Side) -> _Sample:
    """Run a parent and its child."""
    function, key, site = runnable(side), plan(side, "latency", LEAD), SITES[0]
    parent = new_task(function, key, LEAD)
    child = new_task(function, key, site, [parent.key])
    register(side, [parent, child], LEAD)
    content = parent.key.encode()
    model = new_model(parent.key)
    model.address.checksum = hashlib.sha256(content).hexdigest()
    model.address.storage_address = f"{side.store_url(LEAD)}/models/{model.key}"
    place = side.store(LEAD) / "models" / model.key
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    _act(side, parent.key, pb.TASK_ACTION_EXECUTING)
    side.send(f"{MODELS}/RegisterModels", pb.RegisterModelsParam(models=[model]), pb.RegisterModelsResponse, LEAD)
    done = time.time()
    _act(side, parent.key, pb.TASK_ACTION_DONE)
    answered = time.time()
    _await(side, child.key)
    claimed, ended, fetched = _told(side, child.key)
    return _Sample(child.key, done, answered, claimed, _started(side, child.key), ended, fetched)


def _act(side: Side, task: str, action: "pb.ComputeTaskAction.ValueType") -> None:
    param = pb.ApplyTaskActionParam(compute_task_key=task, action=action)
    side.send(f"{TASKS}/ApplyTaskAction", param, pb.ApplyTaskActionResponse, LEAD)


def _await(side: Side, task: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while True:
        found = side.send(f"{TASKS}/GetTask", pb.GetTaskParam(key=task), pb.ComputeTask, LEAD)
        if found.status == pb.STATUS_DONE:
            return
        if found.status == pb.STATUS_FAILED or time.monotonic() > deadline:
            state = pb.ComputeTaskStatus.Name(found.status)
            raise BenchError(f"a child of {side.name} is {state}; see the log of its worker")
        time.sleep(_POLL_SECONDS)


def _told(side: Side, task: str) -> tuple[float, float, float | None]:
    """Return when a task was claimed and Done, and the seconds in which was fetched, as its events tell."""
    moments, steps = dict.fromkeys((pb.STATUS_EXECUTING, pb.STATUS_DONE), 0.0), _steps(side, task)
    deadline = time.monotonic() + _SECONDS
    while not moments[pb.STATUS_DONE]:
        if time.monotonic() > deadline:
            raise BenchError(f"{side.name} tells no event of a task that is Done")
        # Events are shown once they have their place, a moment after what they tell.
        events = _events(side, task)
        for event in events:
            if event.compute_task.status in moments:
                moments[event.compute_task.status] = event.timestamp.seconds + event.timestamp.nanos / 1e9
    steps += [event.profiling_step for event in events if event.HasField("profiling_step")]
    fetches = [step.duration / 1e6 for step in steps if step.step in _FETCHES]
    return moments[pb.STATUS_EXECUTING], moments[pb.STATUS_DONE], sum(fetches) if fetches else None


def _events(side: Side, task: str) -> Sequence[pb.Event]:
    wanted = pb.QueryEventsParam(page_size=1000, filter=pb.EventQueryFilter(asset_key=task))
    found: pb.QueryEventsResponse = side.send(
        "/orchestrator.EventService/QueryEvents", wanted, pb.QueryEventsResponse, LEAD
    )
    return found.events


def _steps(side: Side, task: str) -> list[pb.ProfilingStep]:
    """Return the profile of a task as its own events tell it; empty where a checkout does not know that call."""
    wanted = pb.GetTaskEventsParam(compute_task_key=task)
    try:
        found = side.send(f"{WORKER}/GetTaskEvents", wanted, pb.GetTaskEventsResponse, LEAD)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
            raise
        return []
    return [event.profiling_step for event in found.events if event.HasField("profiling_step")]


def _started(side: Side, task: str) -> float:
    """Return when a task's function started: it wrote that into its model."""
    param = pb.GetComputeTaskModelsParam(compute_task_key=task)
    (model,) = side.send(f"{MODELS}/GetComputeTaskOutputModels", param, pb.GetComputeTaskModelsResponse, LEAD).models
    return float((side.store(SITES[0]) / "models" / str(model.key)).read_text())


@contextmanager
def _monitor(url: str, sent: dict[str, float], received: dict[str, float]) -> Iterator[None]:
    """Note meanwhile when the poke of each task reached the broker, and when a worker said that it got it."""
    client: Any = redis.Redis.from_url(url)
    ended = threading.Event()
    begun = threading.Event()

    def watch() -> None:
        with client.monitor() as monitor:
            begun.set()
            while not ended.is_set():
                command = monitor.next_command()
                if command["command"].startswith(("LPUSH", "PUBLISH")):
                    _note(command["command"], command["time"], sent, received)

    thread = threading.Thread(target=watch, name="monitor", daemon=True)
    thread.start()
    begun.wait(_SECONDS)
    try:
        yield
    finally:
        # Workers tell what they did with a delay.
        time.sleep(2.0)
        ended.set()
        redis.Redis.from_url(url).ping()  # a command, so that the thread looks up
        thread.join(_SECONDS)


def _note(command: str, moment: float, sent: dict[str, float], received: dict[str, float]) -> None:
    found = _BODY.search(command)
    if not found:
        return
    body = json.loads(base64.b64decode(found["body"]))
    if command.startswith("LPUSH"):
        if isinstance(body, list) and len(body) == 3 and "task" in body[1]:
            sent.setdefault(body[1]["task"], moment)
        return
    for event in body if isinstance(body, list) else [body]:
        if event.get("type") == "task-received":
            for key in re.findall(r"'task': '([0-9a-f-]+)'", event.get("kwargs") or ""):
                received.setdefault(key, event["timestamp"])


def _bare(stage: Stage) -> list[float]:
    """Return the seconds from `apply_async` to the start of a bare Celery task."""
    connection = bare.connection()
    connection.delete(bare.STARTED)
    lags = []
    with stage.bare_celery():
        for _ in range(stage.sizes.latencies + 1):
            begun = time.time()
            bare.stamp.apply_async()
            answer = connection.blpop([bare.STARTED], timeout=_SECONDS)
            if answer is None:
                raise BenchError("bare Celery did not start a task; see the log of its workers")
            lags.append(float(answer[1]) - begun)
    return lags[1:]  # the first one opens connections
