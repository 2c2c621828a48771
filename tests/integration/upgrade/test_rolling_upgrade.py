"""This release and one that is made up to come after it, side by side on one database, under load, there and back."""

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Self

import httpx
import pytest

import migrations
from orchestrator import protos as pb
from orchestrator.client import Client
from orchestrator.core.errors import UnavailableError
from orchestrator.embedded.ports import free_port
from orchestrator.embedded.postgres import Postgres
from orchestrator.schema import Schema
from tests.kit.servers import serving
from tests.kit.waiting import wait_until

OURS = "orchestrator"
NEXT = "tests.integration.upgrade.next_release"
CHANNEL = "ours"
CHANNELS = Path(__file__).parent / "channels.yaml"
FIRST = "0001"
"""From which revision of code on the expanding half serves."""
ENOUGH = 10
"""Calls after which a load has been there."""
PAUSE_SECONDS = 0.05


class Load(threading.Thread):
    """Heartbeats of a node that says what it runs, and looks at once whether the nodes' list tells the same."""

    def __init__(self, address: str, http: str) -> None:
        super().__init__()
        self.http = http
        self.calls = 0
        self.faults: list[str] = []
        self._address = address
        self._node = f"node-{uuid.uuid4().hex[:8]}"
        self._over = threading.Event()

    def run(self) -> None:
        with Client(self._address, "org-1", CHANNEL) as client:
            # Not as fast as it can: the releases that start beside it need the processor.
            while not self._over.wait(PAUSE_SECONDS):
                try:
                    self._beat(client, self.calls % 5)
                except Exception as error:
                    self.faults.append(repr(error))
                self.calls += 1

    def _beat(self, client: Client, count: int) -> None:
        attempts = [pb.Attempt(compute_task_key=str(uuid.uuid4()), number=1, token="none") for _ in range(count)]
        client.worker.Heartbeat(pb.HeartbeatParam(node=self._node, attempts=attempts))
        found = client.worker.GetNodes(pb.GetNodesParam()).nodes
        assert [node.attempts for node in found if node.name == self._node] == [count]

    def ready(self) -> str:
        """Return what the server says of the tables, which must be that it can work with them."""
        answer = httpx.get(f"http://{self.http}/ready", timeout=60)
        assert (answer.status_code, answer.json()["status"]) == (200, "ok")
        return str(answer.json()["schema"])

    def metrics(self) -> dict[str, float]:
        """Return what the server's metrics say of the tables."""
        return {
            line.split()[0].removeprefix("orchestrator_schema"): float(line.split()[1])
            for line in httpx.get(f"http://{self.http}/metrics", timeout=60).text.splitlines()
            if line.startswith("orchestrator_schema")
        }

    def go_on(self) -> None:
        """Wait for some more calls."""
        target = self.calls + ENOUGH
        wait_until(lambda: self.calls >= target, timeout=60, message="calls under load")

    def __enter__(self) -> Self:
        self.start()
        self.go_on()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on()
        self._over.set()
        self.join()
        assert not self.faults


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.create_database(f"test_{uuid.uuid4().hex}")


def run(module: str, url: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run a command of a release to its end."""
    # Of the channels only that the file is there matters: none of these servers starts.
    environment = {
        **os.environ,
        "ORCHESTRATOR_DATABASE_URL": url,
        "ORCHESTRATOR_CHANNEL_CONFIG": str(CHANNELS),
        "ORCHESTRATOR_BROKER_URL": "redis://nowhere.invalid/0",
    }
    return subprocess.run(
        [sys.executable, "-m", module, *words], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def migrate(url: str, *words: str) -> str:
    """Migrate to the new release."""
    done = run(NEXT, url, "migrate", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def served(url: str, folder: Path, module: str) -> Iterator[Load]:
    """A server of a release, under load for as long as it is there."""
    folder = folder / uuid.uuid4().hex
    folder.mkdir()
    http = f"127.0.0.1:{free_port()}"
    settings = {"ORCHESTRATOR_HTTP_ADDRESS": http, "ORCHESTRATOR_METRICS_ENABLED": "true"}
    with (
        serving(folder, url, {CHANNEL: ["org-1"]}, settings, module=module, migrate=False) as address,
        Load(address, http) as load,
    ):
        yield load


def test_both_releases_serve_while_the_database_is_upgraded_and_either_way_back(url: str, tmp_path: Path):
    server = partial(served, url, tmp_path)
    migrations.upgrade(url)
    ours = migrations.state(url).needed
    check_next_refuses(url)
    with server(OURS) as old:
        assert "9001" in migrate(url, "--expand")
        assert "not contracted yet" in migrate(url, "--check")
        old.go_on()
        with server(NEXT) as new, server(OURS) as restarted:
            for load in (old, new, restarted):
                load.go_on()
            assert old.ready() == f"revision 9001, serves releases from {FIRST} on"
            assert new.ready() == f"revision 9001, serves releases from {FIRST} on, not contracted yet"
            assert (new.metrics()["_contraction_pending"], old.metrics()["_contraction_pending"]) == (1, 0)
            assert old.metrics()[f'{{code="{ours}",revision="9001",serves_from="{FIRST}"}}'] == 1
        # The way back: the new release is gone, and the old one goes on.
        old.go_on()
    with server(NEXT) as new:
        assert "9002" in migrate(url, "--contract")
        new.go_on()
        assert wait_until(lambda: "not contracted" not in new.ready(), 60, "the server to see it")
        assert (new.metrics()["_serves"], new.metrics()["_contraction_pending"]) == (1, 0)
        for command in ("serve", "beat"):
            refused = run(OURS, url, command)
            assert refused.returncode == 1
            assert f"at revision 9002, which serves releases from 9001 on, and this release is {ours}" in refused.stderr
            assert "start a newer release" in refused.stderr
        advised = run(OURS, url, "migrate")
        assert (advised.returncode, advised.stdout) == (1, "")
        assert "start a newer release" in advised.stderr


def check_next_refuses(url: str) -> None:
    """Check that a new release does not start before its expanding half."""
    refused = run(NEXT, url, "serve")
    assert refused.returncode == 1
    assert "this release needs 9001: run `orchestrator migrate`" in refused.stderr
    assert run(NEXT, url, "migrate", "--check").returncode == 1


def test_waiting_ends_when_the_tables_are_there_and_changes_nothing(url: str):
    command = [sys.executable, "-m", OURS, "migrate", "--wait"]
    environment = {**os.environ, "ORCHESTRATOR_DATABASE_URL": url}
    with subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as waiting:
        try:
            assert waiting.stderr is not None
            assert "the database has no tables" in waiting.stderr.readline()
            assert migrations.state(url).revision is None
            migrations.upgrade(url)
            assert waiting.wait(timeout=60) == 0
        finally:
            waiting.kill()


def test_a_server_that_was_left_behind_is_not_ready_and_says_what_to_do():
    schema = Schema()
    assert (schema.told, list(schema.collect())) == ({}, [])
    with pytest.raises(UnavailableError, match="start a newer release"):
        schema.judge("9002", "9001")
    assert schema.told["schema"].startswith("the database is at revision 9002")
    shown = {family.name: family.samples[0].value for family in schema.collect()}
    assert shown["orchestrator_schema_serves"] == 0


def test_a_database_that_says_nothing_serves_the_code_of_its_revision_alone():
    state = migrations.State("0004", None, "0004", "0004")
    assert state.serves
    assert not migrations.State("0005", None, "0004", "0004").serves


@pytest.mark.parametrize(
    ("revision", "serves_from", "serves"),
    [
        (None, None, False),
        ("0005", "0005", False),
        ("0006", "0006", True),
        ("0007", "0006", True),
        ("0008", "0006", True),
        ("0009", "0008", False),
    ],
)
def test_code_runs_from_its_expanding_half_to_the_next_contracting_one(
    revision: str | None, serves_from: str | None, serves: bool
):
    state = migrations.State(revision, serves_from, needed="0006", newest="0007")
    assert state.serves == serves
    assert bool(state.complaint) != serves
    assert state.left_behind == (revision == "0009")
