"""A kind of work that only the tests bring runs through the whole engine: server, beat and workers of their own."""

import importlib
import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import pytest

from orchestrator import protos as pb
from orchestrator.client import CallError, Client
from orchestrator.core.states import TASK_WORDS
from orchestrator.embedded.postgres import Postgres
from orchestrator.embedded.valkey import Valkey
from tests.kinds import distribution
from tests.kit.processes import clean_environment, running
from tests.kit.servers import serving
from tests.kit.waiting import wait_until

ORGANIZATION, CHANNEL = "org-1", "ours"
# What waits in production waits less here.
SETTINGS = {
    "LEASE": "5s",
    "EXPIRED_LEASE_PERIOD": "300ms",
    "DUE_RETRY_PERIOD": "200ms",
    "LOST_POKE_PERIOD": "500ms",
    "LOST_POKE_AGE": "2s",
    "STUCK_TASK_PERIOD": "300ms",
    "UNACKNOWLEDGED_STOP_PERIOD": "500ms",
    "RETRY_LOST_ATTEMPTS": "3",
}


class Installation:
    """An orchestrator that knows the echo kind, its beat, and workers of the queue `echo.main`.

    Args:
        folder: for logs and the distribution.
        database: URL of a database without tables.
        broker: URL of a Valkey.
    """

    def __init__(self, folder: Path, database: str, broker: str) -> None:
        self._folder = folder
        self._path = distribution.install(folder)
        self._broker = broker
        self._settings = {
            "PYTHONPATH": self._path,
            "ORCHESTRATOR_DATABASE_URL": database,
            "ORCHESTRATOR_BROKER_URL": broker,
            **{f"ORCHESTRATOR_{name}": value for name, value in SETTINGS.items()},
        }
        self._held = ExitStack()
        self.workers: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Installation":
        with ExitStack() as held:
            database = self._settings["ORCHESTRATOR_DATABASE_URL"]
            channels = {CHANNEL: [ORGANIZATION]}
            self.address = held.enter_context(serving(self._folder, database, channels, self._settings))
            beat = [sys.executable, "-m", "orchestrator", "beat"]
            held.enter_context(running(beat, self._settings, self._folder / "beat.log"))
            self.client = held.enter_context(Client(self.address, ORGANIZATION, CHANNEL))
            self._transport = held.enter_context(grpc.insecure_channel(self.address))
            self._held = held.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def work(self, node: str) -> None:
        """Start a worker."""
        command = [sys.executable, "-m", "tests.kinds.echo", self.address, ORGANIZATION, CHANNEL, node]
        settings = {"PYTHONPATH": self._path, "ECHO_BROKER": self._broker}
        self.workers[node] = self._held.enter_context(running(command, settings, self.log(node)))

    def log(self, node: str) -> Path:
        """Return the log of a worker."""
        return self._folder / f"{node}.log"

    def call(self, method: str, request: Any) -> Any:
        """Call a method of the echo service."""
        service = messages().DESCRIPTOR.services_by_name["EchoService"]
        answer = getattr(messages(), service.methods_by_name[method].output_type.name)
        call: Callable[..., Any] = self._transport.unary_unary(
            f"/{service.full_name}/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        return call(request, metadata=(("mspid", ORGANIZATION), ("channel", CHANNEL)), timeout=30)

    def submit(self, *tasks: dict[str, Any], parents: bool = False) -> tuple[str, list[str]]:
        """Submit a plan of tasks, each the parent of the next where asked; return its key and theirs."""
        keys = [str(uuid.uuid4()) for _ in tasks]
        new = messages().NewPlan(key=str(uuid.uuid4()))
        for number, (key, asked) in enumerate(zip(keys, tasks, strict=True)):
            above = keys[number - 1 : number] if parents and number else []
            new.tasks.add(key=key, json=json.dumps(asked), parents=above)
        self.call("Submit", new)
        return new.key, keys

    def events(self, task: str) -> list[Any]:
        """Return what the events of a task show, in their order."""
        found = self.client.worker.GetTaskEvents(pb.GetTaskEventsParam(compute_task_key=task)).events
        shown = []
        for event in found:
            message = getattr(messages(), event.other.TypeName().rpartition(".")[2])()
            assert event.other.Unpack(message)
            shown.append(message)
        return shown

    def states(self, task: str) -> list[str]:
        """Return the states that a task went through."""
        return [TASK_WORDS[each.status] for each in self.events(task) if isinstance(each, messages().Task)]

    def await_state(self, task: str, word: str) -> None:
        """Wait until a task is in a state."""
        wait_until(lambda: self.states(task)[-1] == word, 60, f"task {task} to be {word}: {self.states(task)}")

    def audit(self) -> "subprocess.CompletedProcess[str]":
        """Check the trace and the rows."""
        command = [sys.executable, "-m", "orchestrator", "audit", "check", "--database"]
        settings = {
            **self._settings,
            "ORCHESTRATOR_ADDRESS": self.address,
            "ORCHESTRATOR_ORGANIZATION": ORGANIZATION,
            "ORCHESTRATOR_CHANNEL": CHANNEL,
        }
        environment = clean_environment(settings)
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def messages() -> ModuleType:
    """Return the messages that the distribution holds."""
    return importlib.import_module("echo_pb2")


@pytest.fixture(scope="module")
def installation(
    tmp_path_factory: pytest.TempPathFactory, postgres: Postgres, valkey: Valkey
) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("echo")
    database = postgres.create_database(f"test_{uuid.uuid4().hex}")
    made = Installation(folder, database, valkey.url)
    sys.path.append(str(folder))
    try:
        with made:
            made.work("node-1")
            yield made
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("echo_pb2", None)


def test_json_in_json_out_parents_first(installation: Installation):
    _, (parent, child) = installation.submit({"say": "a"}, {"say": "b"}, parents=True)
    installation.await_state(child, "Done")
    assert installation.states(parent) == ["To do", "Doing", "Done"]
    assert installation.states(child) == ["Waiting", "To do", "Doing", "Done"]
    (answer,) = [each for each in installation.events(child) if isinstance(each, messages().Answer)]
    assert json.loads(answer.json) == {"say": "b"}


def test_what_its_service_refuses(installation: Installation):
    new = messages().NewPlan(key=str(uuid.uuid4()))
    new.tasks.add(key=str(uuid.uuid4()), json="{")
    with pytest.raises(grpc.RpcError, match="OE0101"):
        installation.call("Submit", new)


def test_it_is_tried_again_as_its_policies_say(installation: Installation):
    _, (task,) = installation.submit({"fail": 2})
    installation.await_state(task, "Done")
    assert installation.states(task) == ["To do", "Doing", "To do", "Doing", "To do", "Doing", "Done"]


def test_what_waits_for_one_that_failed_is_swept(installation: Installation):
    _, (parent, child) = installation.submit({"fail": 9}, {}, parents=True)
    installation.await_state(parent, "Failed")
    installation.await_state(child, "Cancelled")


def test_a_cancelled_attempt_stops(installation: Installation):
    plan, (task,) = installation.submit({"sleep": 600})
    installation.await_state(task, "Doing")
    installation.call("Cancel", messages().Plan(key=plan))
    installation.await_state(task, "Cancelled")
    _, (after,) = installation.submit({"say": "free again"})
    installation.await_state(after, "Done")


def test_a_lost_worker_s_task_is_tried_again_by_another(installation: Installation):
    plan, (task,) = installation.submit({"sleep": 600})
    installation.await_state(task, "Doing")
    installation.workers["node-1"].send_signal(signal.SIGKILL)
    wait_until(lambda: "To do" in installation.states(task)[2:], 60, "the sweep")
    installation.work("node-2")
    wait_until(lambda: installation.states(task).count("Doing") == 2, 60, "the second attempt")
    assert f"runs {task} attempt 2" in installation.log("node-2").read_text()
    installation.call("Cancel", messages().Plan(key=plan))
    installation.await_state(task, "Cancelled")


def test_compute_does_not_know_its_tasks(installation: Installation):
    _, (task,) = installation.submit({})
    with pytest.raises(CallError, match="does not exist"):
        installation.client.tasks.GetTask(pb.GetTaskParam(key=task))
    assert not installation.client.tasks.QueryTasks(pb.QueryTasksParam()).tasks


def test_its_rows_are_audited(installation: Installation):
    installation.submit({"say": "audited"})
    found = installation.audit()
    assert (found.returncode, found.stderr) == (0, ""), found.stdout
