"""What the server says when it starts with an HTTP API that is open to more than this machine."""

import uuid
from pathlib import Path

import httpx

from orchestrator.embedded.ports import free_port
from orchestrator.embedded.postgres import Postgres
from tests.kit.servers import serving


def test_an_open_api_on_every_address_is_warned_of_at_each_start(postgres: Postgres, tmp_path: Path):
    port = free_port()
    settings = {
        "ORCHESTRATOR_API_ADDRESS": f"0.0.0.0:{port}",
        "ORCHESTRATOR_API_IDENTITY": "open",
        "ORCHESTRATOR_API_ORGANIZATION": "org-1",
        "ORCHESTRATOR_API_CHANNEL": "channel",
    }
    database = postgres.create_database(f"start_{uuid.uuid4().hex}")
    with serving(tmp_path, database, {"channel": ["org-1"]}, settings):
        answer = httpx.get(f"http://127.0.0.1:{port}/v1/plans/{uuid.uuid4()}")
        assert (answer.status_code, answer.json()["code"]) == (404, "OE0002")
    log = (tmp_path / "server.log").read_text()
    assert "whoever reaches it acts for org-1 in channel" in log
    assert "without TLS" in log
