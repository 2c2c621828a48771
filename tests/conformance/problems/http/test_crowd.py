"""Many that wait, of whom some hang up, and two servers on one database."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator import protos as pb
from orchestrator.access import tokens
from tests.kit.deployment import Deployment
from tests.kit.waiting import wait_until

from .conftest import CHANNEL, OWNER, Desk, Listener, desk_on

CROWD = 1000
METADATA, MODEL = 4, 5


class Client:
    """One of many clients, on a connection of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def asking(cls, host: str, document: object) -> "Client":
        address, _, port = host.partition(":")
        client = cls(*await asyncio.open_connection(address, int(port)))
        body = json.dumps(document).encode()
        head = f"POST /results HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
        client.writer.write(head.encode() + body)
        await client.writer.drain()
        return client

    async def answer(self) -> tuple[int, dict[str, object]]:
        head = await self.reader.readuntil(b"\r\n\r\n")
        size = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return int(head.split(b" ", 2)[1]), json.loads(await self.reader.readexactly(size))


def server_of(desk: Desk) -> psutil.Process:
    return next(
        child
        for child in psutil.Process().children()
        if child.environ().get("ORCHESTRATOR_PROBLEMS_ADDRESS") == desk.host
    )


def connections(process: psutil.Process, desk: Desk) -> int:
    port = int(desk.host.partition(":")[2])
    return sum(each.status == "ESTABLISHED" and each.laddr.port == port for each in process.net_connections("tcp"))


def test_a_thousand_wait_without_thread_or_connection_and_half_hang_up(desk: Desk):
    # Else a module takes what a test before has left.
    desk.finish()
    task = desk.submit()
    process = server_of(desk)
    desk.get("/status")
    idle = connections(process, desk)

    async def run() -> list[tuple[int, dict[str, object]]]:
        async with asyncio.timeout(240):
            document = {"node_id": METADATA, "task_id": task}
            clients = [await Client.asking(desk.host, document) for _ in range(CROWD)]
            await asyncio.to_thread(wait_until, lambda: connections(process, desk) >= idle + CROWD, 120)
            # All have been looked at once, and wait: the pool of threads and the database serve others.
            assert (await asyncio.to_thread(desk.get, "/status")).status_code == 200
            backends = desk.deployment.rows(
                "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle'"
            )
            assert len(backends) < 20
            for client in clients[::2]:
                client.writer.close()
            await asyncio.to_thread(wait_until, lambda: connections(process, desk) <= idle + CROWD // 2, 120)
            threads = process.num_threads()
            assert threads < 100
            await asyncio.to_thread(desk.run, METADATA, pb.MLModelMetadata(keywords=["k"]))
            found = await asyncio.gather(*(client.answer() for client in clients[1::2]))
            for client in clients[1::2]:
                client.writer.close()
            return found

    answers = asyncio.run(run())
    assert len(answers) == CROWD // 2
    assert {status for status, _ in answers} == {200}
    assert all(body["ML_MODEL_METADATA"]["keywords"] == "k" for _, body in answers)  # type: ignore[index]
    desk.finish()


@pytest.fixture(scope="module")
def second(desk: Desk, database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Another server of the same deployment, to which callers show who they are."""
    folder: Path = tmp_path_factory.mktemp("second")
    with desk_on(folder, database_url, migrate=False, PROBLEMS_IDENTITY="token") as found:
        found.deployment, found.modules = desk.deployment, desk.modules
        yield found


def token(desk: Desk, organization: str) -> str:
    now = datetime.now(UTC)
    with desk.deployment.database.begin() as connection:
        return tokens.create(connection, organization, frozenset({CHANNEL}), now, now + timedelta(hours=1))[1]


def test_where_credentials_are_asked_for_nobody_else_is_answered(second: Desk):
    for path in (
        "/status",
        "/user_input",
        "/results",
        "/config_request",
        "/cancel",
        "/available_tasks",
        "/api/control",
    ):
        answer = second.post(path, {"configuration": "modality", "node_id": 1})
        assert (answer.status_code, "error" in answer.json()) == (401, True), path
        assert answer.headers["www-authenticate"].startswith("Bearer")
    for path in ("/api/events", "/api/problems", "/api/nodes"):
        assert second.get(path).status_code == 401
    stranger = {"Authorization": f"Bearer {token(second, 'guest')}"}
    assert second.get("/api/problems", headers=stranger).status_code == 403
    second.http.headers["Authorization"] = f"Bearer {token(second, OWNER)}"
    assert second.get("/api/problems").status_code == 200


def of(listener: Listener, task: dict[str, int]) -> list[tuple[int, str, dict[str, Any]]]:
    return [each for each in listener.events if each[2].get("task_id") == task]


def test_two_servers_tell_the_same(desk: Desk, second: Desk):
    desk.present()
    second.http.headers["Authorization"] = f"Bearer {token(second, OWNER)}"
    with Listener(second) as listener:
        task = desk.submit()
        waiting = [each.later("/results", {"node_id": 9, "task_id": task}) for each in (desk, second)]
        desk.finish()
        assert waiting[0].result(60).json() == waiting[1].result(60).json()
        wait_until(lambda: [name for _, name, _ in of(listener, task)].count("stage.output") == 6)
    ours = of(listener, task)
    with Listener(desk, ours[0][0] - 1, problem_id=task["problem_id"]) as resumed:
        wait_until(lambda: resumed.has(len(ours)))
    assert resumed.events == ours
    numbers = {each.submit()["problem_id"] for each in (desk, second) for _ in range(5)}
    assert len(numbers) == 10
    stopped = second.post("/cancel", task)
    assert stopped.status_code == 404
    desk.finish()


def test_another_deployment_is_not_seen(desk: Desk):
    desk.finish()
    before = desk.post("/available_tasks").json()
    other = Deployment(desk.deployment.database, "domain-1", OWNER, CHANNEL)
    with Listener(desk) as listener:
        assert other.submit().task_id == pb.TaskId(problem_id=1, iteration_id=1)
        assert desk.post("/available_tasks").json() == before
        task = desk.submit()
        wait_until(lambda: listener.has(1))
    assert {data["task_id"]["problem_id"] for _, _, data in listener.events} == {task["problem_id"]}
    desk.finish()
