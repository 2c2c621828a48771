"""A server of problems, a client of its HTTP that knows but the contract, and modules that a test plays."""

import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator import protos as pb
from orchestrator.embedded.ports import free_port
from orchestrator.embedded.postgres import Postgres
from orchestrator.engine.transaction import Database
from orchestrator.problems import graph
from tests.kit.deployment import Deployment, Module
from tests.kit.servers import serving

KINDS = [kind.name for kind in graph.KINDS.values()]
OWNER, CHANNEL = "central", "project"


@dataclass
class Desk:
    """A front end, a console, and the modules of a deployment.

    Args:
        http: the client.
        host: of the service.
        deployment: the modules' side of it.
        pool: where calls wait.
    """

    http: httpx.Client
    host: str
    deployment: Deployment
    pool: ThreadPoolExecutor
    modules: Any = field(default=None)

    def post(self, path: str, document: Any = None, **more: Any) -> httpx.Response:
        return self.http.post(path, json={} if document is None else document, **more)

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.http.get(path, **more)

    def later(self, path: str, document: Any) -> "Future[httpx.Response]":
        """Send a request that waits."""
        return self.pool.submit(self.post, path, document)

    def submit(self, extra: dict[str, Any] | None = None, **members: Any) -> dict[str, int]:
        """Submit a task, and return its id."""
        answer = self.post("/user_input", {**members, "extra_data": extra or {}})
        assert answer.status_code == 200, answer.text
        return answer.json()["task_id"]

    def result(self, task: dict[str, int], node: int, **more: Any) -> httpx.Response:
        return self.post("/results", {"node_id": node, "task_id": task, **more})

    def iteration(self, task: dict[str, int]) -> dict[str, Any]:
        return self.get(path_of(task)).json()

    def present(self) -> Any:
        """Have one module of each kind, also where a test before has ended one, and return them by its number."""
        if self.modules is None:
            self.modules = self.deployment.modules()
        for kind, module in self.modules.items():
            if module.phase == pb.PHASE_ENDED:
                self.modules[kind] = Module(self.deployment, kind)
            else:
                module.report()
        return self.modules

    def leave(self) -> None:
        """Have all modules end."""
        for module in self.present().values():
            module.phase = pb.PHASE_ENDED
            module.report()
        self.modules = None

    def finish(self, **outputs: Any) -> None:
        """Have modules run all stages that wait."""
        self.deployment.finish(self.present(), **outputs)

    def run(self, kind: int, output: Any = None) -> None:
        """Have a module run the next stage of its kind."""
        self.present()[kind].run(output)


def path_of(task: dict[str, int]) -> str:
    return f"/api/problems/{task['problem_id']}/iterations/{task['iteration_id']}"


def id_of(task: dict[str, int]) -> pb.TaskId:
    return pb.TaskId(**task)


@contextmanager
def desk_on(
    folder: Path,
    database_url: str,
    deployment: str = "domain-0",
    migrate: bool = True,
    environment: Mapping[str, str] | None = None,
    **settings: str,
) -> Iterator[Desk]:
    """Run a server of problems.

    Args:
        folder: for its files.
        database_url: of its database.
        deployment: that it serves.
        migrate: whether the database is new.
        environment: more of the server's.
        settings: more of them, without their prefix.
    """
    host = f"127.0.0.1:{free_port()}"
    told = {
        "ORCHESTRATOR_PROBLEMS_ADDRESS": host,
        "ORCHESTRATOR_PROBLEMS_ORGANIZATION": OWNER,
        "ORCHESTRATOR_PROBLEMS_CHANNEL": CHANNEL,
        "ORCHESTRATOR_PROBLEMS_DEPLOYMENT": deployment,
        **{f"ORCHESTRATOR_{name}": value for name, value in settings.items()},
        **(environment or {}),
    }
    with (
        serving(folder, database_url, {CHANNEL: [OWNER, "guest"]}, told, migrate=migrate),
        httpx.Client(base_url=f"http://{host}", timeout=30) as http,
        ThreadPoolExecutor(32) as pool,
    ):
        database = Database(database_url, 4)
        try:
            yield Desk(http, host, Deployment(database, deployment, OWNER, CHANNEL), pool)
        finally:
            database.close()


@pytest.fixture(scope="session")
def database_url(postgres: Postgres) -> str:
    return postgres.create_database(f"problems_{uuid.uuid4().hex}")


@pytest.fixture(scope="session")
def desk(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One for all tests of a process: a test looks at its own tasks."""
    with desk_on(
        tmp_path_factory.mktemp("problems"), database_url, PROBLEMS_DATASET_FOLDERS="/data", PROBLEMS_LONGEST_WAIT="240"
    ) as found:
        yield found


class Listener:
    """A client of the event stream.

    Args:
        desk: whose.
        position: of the last event that it had; None begins now.
        query: filters.
    """

    def __init__(self, desk: Desk, position: int | None = None, **query: Any) -> None:
        self.events: list[tuple[int, str, dict[str, Any]]] = []
        self.status = 0
        self._open = threading.Event()
        self._desk = desk
        self._ended = False
        self._headers = {} if position is None else {"Last-Event-ID": str(position)}
        self._query = query
        self._client = httpx.Client(base_url=f"http://{desk.host}", headers=desk.http.headers, timeout=30)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Listener":
        self._thread.start()
        assert self._open.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._client.close()

    def has(self, count: int) -> bool:
        """Whether so many events have come."""
        return len(self.events) >= count

    def _run(self) -> None:
        try:
            with self._client.stream("GET", "/api/events", headers=self._headers, params=self._query) as answer:
                self.status = answer.status_code
                event: dict[str, str] = {}
                for line in answer.iter_lines():
                    self._open.set()
                    name, _, value = line.partition(": ")
                    if line:
                        event[name] = value
                        continue
                    if "data" in event:
                        self.events.append((int(event["id"]), event["event"], json.loads(event["data"])))
                    event = {}
        except Exception:
            if not self._ended:
                raise
        finally:
            self._open.set()
