"""How a server with an HTTP API starts, and how it ends."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg

from orchestrator.embedded.ports import free_port
from orchestrator.embedded.postgres import Postgres
from tests.kit.servers import serving
from tests.kit.waiting import wait_until

OPEN = {
    "ORCHESTRATOR_API_IDENTITY": "open",
    "ORCHESTRATOR_API_ORGANIZATION": "org-1",
    "ORCHESTRATOR_API_CHANNEL": "channel",
}
CHANNELS = {"channel": ["org-1"]}


def test_an_open_api_on_every_address_is_warned_of_at_each_start(postgres: Postgres, tmp_path: Path):
    port = free_port()
    settings = {**OPEN, "ORCHESTRATOR_API_ADDRESS": f"0.0.0.0:{port}"}
    database = postgres.create_database(f"start_{uuid.uuid4().hex}")
    with serving(tmp_path, database, CHANNELS, settings):
        answer = httpx.get(f"http://127.0.0.1:{port}/v1/plans/{uuid.uuid4()}", timeout=60)
        assert (answer.status_code, answer.json()["code"]) == (404, "OE0002")
    log = (tmp_path / "server.log").read_text()
    assert "whoever reaches it acts for org-1 in channel" in log
    assert "without TLS" in log


def test_a_server_that_stops_answers_the_calls_that_are_open_and_takes_no_others(postgres: Postgres, tmp_path: Path):
    http = f"127.0.0.1:{free_port()}"
    database = postgres.create_database(f"stop_{uuid.uuid4().hex}")

    def ask(kind: str) -> httpx.Response:
        return httpx.get(f"http://{http}/v1/{kind}/{uuid.uuid4()}", timeout=30)

    def let_go_at_the_end() -> httpx.Response:
        """Ask while the server stops, and only then let the call go that waits."""
        try:
            wait_until(lambda: "server.stopping" in (tmp_path / "server.log").read_text(), 60, "the server to stop")
            return wait_until(lambda: answer if (answer := ask("tasks")).status_code == 503 else None, 8, "a refusal")
        finally:
            holder.rollback()

    with psycopg.connect(database) as holder, ThreadPoolExecutor(2) as threads:
        with serving(tmp_path, database, CHANNELS, {**OPEN, "ORCHESTRATOR_HTTP_ADDRESS": http}):
            holder.execute("LOCK TABLE compute_plans IN ACCESS EXCLUSIVE MODE")
            waiting = threads.submit(ask, "plans")
            wait_until(lambda: waits(database), 60, "the call to wait")
            late = threads.submit(let_go_at_the_end)
        assert (waiting.result().status_code, waiting.result().json()["code"]) == (404, "OE0002")
        assert int(late.result().headers["retry-after"]) >= 1
        assert "the server stops" in late.result().json()["message"]


def waits(database: str) -> bool:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(database) as connection:
        return connection.execute(query).fetchone() == (1,)
