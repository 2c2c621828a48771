"""An orchestrator that places executions: server, beat, runtimes, a server like Argo's, and what carries topics."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psycopg
import redis

from orchestrator import protos as pb
from orchestrator.client import Client
from orchestrator.core.pokes import key_prefix
from orchestrator.core.states import TASK_WORDS
from orchestrator.embedded.ports import free_port
from orchestrator.executions.sweeps import old_topics
from tests.kit.argo import FakeArgo
from tests.kit.database import opened
from tests.kit.portal import PARTNERS, Portal, new_execution, new_schema
from tests.kit.processes import clean_environment, running
from tests.kit.servers import server_process
from tests.kit.waiting import wait_until
from workers.runtime.kafka import Kafka, KafkaSettings

CENTRAL, CHANNEL = "central", "project"
TEMPLATE = b"""\
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata:
  generateName: tumour-
spec:
  entrypoint: main
  templates:
  - name: main
    container: {image: engine, args: ["{{workflow.parameters.execution_id}}"]}
"""
# What waits in production waits less here.
_SETTINGS = {
    "LEASE": "5s",
    "EXPIRED_LEASE_PERIOD": "500ms",
    "DUE_RETRY_PERIOD": "500ms",
    "LOST_POKE_PERIOD": "1s",
    "LOST_POKE_AGE": "2s",
    "WAITING_GANG_PERIOD": "500ms",
}


class Installation:
    """All of it, but runtimes, which tests start.

    Args:
        folder: for logs and files.
        database: URL of a database without tables.
        broker: URL of a Valkey.
        kafka: host:port of what carries topics.
        settings: more of the server and the beat, without their prefix.
    """

    def __init__(self, folder: Path, database: str, broker: str, kafka: str, **settings: str) -> None:
        self._folder = folder
        self._kafka = kafka
        self.database = database
        self.broker = broker
        self.argo = FakeArgo()
        host = f"127.0.0.1:{free_port()}"
        self._settings = {
            "ORCHESTRATOR_DATABASE_URL": database,
            "ORCHESTRATOR_BROKER_URL": broker,
            "ORCHESTRATOR_HTTP_ADDRESS": host,
            "ORCHESTRATOR_API_IDENTITY": "open",
            "ORCHESTRATOR_API_ORGANIZATION": CENTRAL,
            "ORCHESTRATOR_API_CHANNEL": CHANNEL,
            "ORCHESTRATOR_EXECUTIONS_RUNTIME": "on",
            "MEDIA_ROOT": str(folder / "media"),
            "VALID_DATA_PARTNERS": ",".join(PARTNERS),
            **{f"ORCHESTRATOR_{name}": value for name, value in {**_SETTINGS, **settings}.items()},
        }
        self._host = host
        self._held = ExitStack()
        self._serving = ExitStack()
        self.address = f"127.0.0.1:{free_port()}"

    def __enter__(self) -> Self:
        with ExitStack() as held:
            held.enter_context(self.argo)
            held.callback(lambda: self._serving.close())
            self.serve()
            beat = [sys.executable, "-m", "orchestrator", "beat"]
            held.enter_context(running(beat, self._settings, self._folder / "beat.log"))
            http = held.enter_context(httpx.Client(base_url=f"http://{self._host}", timeout=30))
            self.portal = Portal(http, self._folder / "media", self._host)
            self.client = held.enter_context(Client(self.address, CENTRAL, CHANNEL))
            self._held = held.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def serve(self) -> None:
        """Start the server, again where it was stopped."""
        channels = {CHANNEL: [CENTRAL, *PARTNERS]}
        self._server = self._serving.enter_context(
            server_process(self._folder, self.database, channels, self.address, self._settings)
        )

    def kill_server(self) -> None:
        """Kill the server at once."""
        self._server.kill()
        self._serving.close()

    @contextmanager
    def runtime(self, node: str, **more: str) -> "Iterator[subprocess.Popen[bytes]]":
        """Run a runtime beside the block.

        Args:
            node: its name.
            more: settings, without their prefix.
        """
        settings = {
            "ORCHESTRATOR_ORGANIZATION": CENTRAL,
            "ORCHESTRATOR_CHANNELS": CHANNEL,
            "ORCHESTRATOR_ADDRESS": self.address,
            "ORCHESTRATOR_BROKER_URL": self._settings["ORCHESTRATOR_BROKER_URL"],
            "ORCHESTRATOR_NODE": node,
            "ORCHESTRATOR_RUNTIME_LOOK_PERIOD": "0.3",
            "ORCHESTRATOR_RUNTIME_REPORT_PATIENCE": "1",
            "ARGO_WORKFLOWS_TIMEOUT": "3",
            "KAFKA_BOOTSTRAP_SERVERS": self._kafka,
            **self.argo.settings,
            **{f"ORCHESTRATOR_{name}": value for name, value in more.items()},
        }
        command = [sys.executable, "-m", "orchestrator", "runtime"]
        with running(command, settings, self._folder / f"{node}.log") as process:
            yield process

    def forget_pokes(self) -> None:
        """Empty the queue of the runtimes, as a broker that loses all."""
        queue = f"executions.{CENTRAL}"
        with redis.Redis.from_url(self._settings["ORCHESTRATOR_BROKER_URL"]) as client:
            client.delete(f"{key_prefix(queue)}{queue}")

    def topics(self) -> set[str]:
        """Return the names of all topics."""
        return set(Kafka(KafkaSettings(kafka_bootstrap_servers=self._kafka)).names())

    def topics_of(self, execution: dict[str, Any]) -> set[str]:
        """Return the names of an execution's own."""
        return {name for name in self.topics() if name.startswith(f"{execution['id']}_-SEP-_")}

    @contextmanager
    def asked_for(self, execution: Callable[[], dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Start an execution, and run the block while its workflow is asked for; Argo answers after the block.

        Args:
            execution: starts it.
        """
        self.argo.released.clear()
        try:
            created = len(self.argo.created())
            started = execution()
            wait_until(lambda: len(self.argo.created()) > created, 60, "the workflow to be asked for")
            yield started
        finally:
            self.argo.released.set()

    def sweep_topics(self) -> None:
        """Ask runtimes to remove the topics of what is over."""
        with opened(self.database, pool_size=1) as database:
            with database.begin() as connection:
                now = database.measure(connection)
            old_topics.ask(database, now, 500)

    def schema(self, template: bytes = TEMPLATE, **changes: Any) -> dict[str, Any]:
        """Store a schema of Argo's, and return it."""
        new = new_schema(**{"implementation": "argo_workflows", **changes})
        stored = self.portal.send("POST", "/api/schemas/", new, {"auxiliary_file": template})
        assert stored.status_code == 201, stored.text
        answer: dict[str, Any] = stored.json()
        return answer

    def new_execution(self, schema: dict[str, Any]) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Return what an execution of a schema needs, and its files."""
        return new_execution(schema)

    def started(self, **schema: Any) -> dict[str, Any]:
        """Start an execution of a new schema, and return it."""
        return self.portal.execution(self.schema(**schema))

    def faults(self, execution: dict[str, Any]) -> int:
        """Return how many attempts of an execution's steps have failed."""
        with psycopg.connect(self.database) as connection:
            query = (
                "SELECT count(*) FROM attempts JOIN task_states ON key = task_key "
                "JOIN execution_runs ON plan = plan_key WHERE fault IS NOT NULL AND execution = %s"
            )
            row = connection.execute(query, [execution["id"]]).fetchone()
        return int(row[0]) if row else 0

    def state(self, execution: dict[str, Any]) -> dict[str, Any]:
        """Return the state of an execution."""
        state: dict[str, Any] = self.portal.get(f"/api/executions/{execution['id']}/").json()["state"]
        return state

    def await_state(self, execution: dict[str, Any], status: str, seconds: float = 60) -> str:
        """Wait until an execution is in a state, and return its message."""

        def found() -> dict[str, Any] | None:
            state = self.state(execution)
            return state if state["status"] == status else None

        return str(wait_until(found, seconds, f"execution {execution['id']} to be {status}").get("message", ""))

    def workflows(self, execution: dict[str, Any]) -> list[str]:
        """Return the names of an execution's workflows."""
        return [
            name
            for name, each in list(self.argo.workflows.items())
            if each["metadata"].get("labels", {}).get("orchestrator-execution", "").endswith(f"-{execution['id']}")
        ]

    def await_workflow(self, execution: dict[str, Any]) -> str:
        """Wait until an execution has a workflow that its run names, and return its name."""

        def named() -> str | None:
            with psycopg.connect(self.database) as connection:
                query = "SELECT workflow FROM execution_runs WHERE execution = %s"
                row = connection.execute(query, [execution["id"]]).fetchone()
            return str(row[0]) if row and row[0] else None

        return wait_until(named, 60, f"the workflow of {execution['id']} to be noted")

    def steps(self, execution: dict[str, Any]) -> dict[str, str]:
        """Return the states of the steps that are about an execution, by their role; the last of each."""
        with psycopg.connect(self.database) as connection:
            query = (
                "SELECT message, status FROM tasks JOIN task_states USING (key) WHERE kind = 'executions' "
                "ORDER BY created_at, tasks.key"
            )
            rows = [(pb.ExecutionStep.FromString(message), status) for message, status in connection.execute(query)]
        return {
            pb.StepRole.Name(step.role).removeprefix("STEP_ROLE_"): TASK_WORDS[status]
            for step, status in rows
            if step.execution == execution["id"]
        }

    def audit(self) -> "subprocess.CompletedProcess[str]":
        """Check the trace and the rows."""
        command = [sys.executable, "-m", "orchestrator", "audit", "check", "--database"]
        settings = {
            "ORCHESTRATOR_DATABASE_URL": self.database,
            "ORCHESTRATOR_ADDRESS": self.address,
            "ORCHESTRATOR_ORGANIZATION": CENTRAL,
            "ORCHESTRATOR_CHANNEL": CHANNEL,
        }
        environment = clean_environment(settings)
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def await_killed(process: "subprocess.Popen[bytes]") -> None:
    """Wait until a process has died at a crash point."""
    wait_until(lambda: process.poll() is not None, 60, "the process to reach its crash point")
    assert process.returncode == -signal.SIGKILL
