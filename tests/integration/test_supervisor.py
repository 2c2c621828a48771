"""A server of several processes, as its operator sees it: its start, its deaths, its end."""

import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

import migrations
from orchestrator.embedded.ports import free_port
from orchestrator.embedded.postgres import Postgres
from tests.kit.processes import clean_environment, lives
from tests.kit.servers import serving
from tests.kit.siblings import Siblings
from tests.kit.waiting import wait_until

CHANNELS = {"channel": ["org-1"]}
TWO = {"ORCHESTRATOR_PROCESSES": "2", "ORCHESTRATOR_METRICS_ENABLED": "true"}
END_SECONDS = 60


@pytest.fixture(scope="module")
def url(postgres: Postgres) -> str:
    url = postgres.create_database(f"siblings_{uuid.uuid4().hex}")
    migrations.upgrade(url)
    return url


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("siblings")


@pytest.fixture(scope="module")
def siblings(url: str, folder: Path) -> Iterator[Siblings]:
    with serving(folder, url, CHANNELS, TWO, migrate=False) as address:
        yield Siblings(address)


def lines(log: Path, event: str) -> list[dict[str, object]]:
    return [line for line in map(json.loads, log.read_text().splitlines()) if line["event"] == event]


def settings(folder: Path, url: str, **more: str) -> dict[str, str]:
    channels = folder / "channels.yaml"
    channels.write_text(yaml.safe_dump({"channels": CHANNELS}))
    given = {
        "DATABASE_URL": url,
        "CHANNEL_CONFIG": str(channels),
        "GRPC_ADDRESS": f"127.0.0.1:{free_port()}",
        "HTTP_ADDRESS": f"127.0.0.1:{free_port()}",
        **more,
    }
    return clean_environment({f"ORCHESTRATOR_{name}": value for name, value in given.items()})


def serve(environment: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a server that ends by itself."""
    command = [sys.executable, "-m", "orchestrator", "serve", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=END_SECONDS)


def test_processes_share_both_addresses(siblings: Siblings):
    both = siblings.all_of(2)
    http = siblings.supervisor.environ()["ORCHESTRATOR_HTTP_ADDRESS"]
    assert siblings.listening(http) == both
    assert httpx.get(f"http://{http}/health", timeout=60).json() == {"status": "ok"}
    assert httpx.get(f"http://{http}/ready", timeout=60).json()["status"] == "ok"


def test_each_process_says_whether_it_serves(siblings: Siblings):
    for process in siblings.all_of(2):
        with siblings.channel_to(process) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=END_SECONDS)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_one_that_is_killed_is_started_again_after_pauses_that_grow(siblings: Siblings, folder: Path):
    log = folder / "server.log"
    before = len(lines(log, "process.ended"))
    kept, other = siblings.all_of(2)
    for _ in range(2):
        other.kill()
        wait_until(lambda: siblings.listening() == [kept], END_SECONDS, "the end of one")
        (other,) = set(siblings.all_of(2)) - {kept}
    first, second = lines(log, "process.ended")[before:]
    assert "killed by SIGKILL" in str(first["reason"])
    assert first["process"] == second["process"]
    assert second["starts_again_in"] == 2 * float(str(first["starts_again_in"]))
    assert lines(log, "server.started")[-1]["process"] == first["process"]


@pytest.mark.parametrize("processes", ["1", "2"])
def test_an_address_that_is_taken_is_refused(siblings: Siblings, url: str, tmp_path: Path, processes: str):
    """Though the servers are of the same user, and both would share."""
    taken = siblings.supervisor.environ()
    for variable in ("GRPC_ADDRESS", "HTTP_ADDRESS"):
        address = taken[f"ORCHESTRATOR_{variable}"]
        ended = serve(settings(tmp_path, url, **{variable: address}), "--processes", processes)
        assert ended.returncode == 1
        assert ended.stderr.splitlines()[-1].startswith(
            f"Error: ORCHESTRATOR_{variable} {address} cannot be listened on"
        )
    assert len(siblings.all_of(2)) == 2


def test_what_keeps_the_first_from_serving_is_told_once_and_ends_all(tmp_path: Path):
    nobody = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    ended = serve(settings(tmp_path, nobody, PROCESSES="2"))
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("Error: the database of ORCHESTRATOR_DATABASE_URL cannot be reached")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"PROCESSES": "none"}, "ORCHESTRATOR_PROCESSES is wrong"),
        ({"PROCESSES": "0"}, "ORCHESTRATOR_PROCESSES is wrong"),
        ({"PROCESSES": "2", "GRPC_ADDRESS": "127.0.0.1:0"}, "ORCHESTRATOR_GRPC_ADDRESS is wrong"),
    ],
)
def test_a_wrong_setting_is_told_once_and_ends_all(tmp_path: Path, change: dict[str, str], words: str):
    ended = serve(settings(tmp_path, "postgresql://nobody@127.0.0.1/nothing", **change))
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
    assert words in ended.stderr


@pytest.fixture
def started(url: str, tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A server of two processes of the test's own."""
    environment = settings(tmp_path, url, **{key.removeprefix("ORCHESTRATOR_"): value for key, value in TWO.items()})
    with (
        (tmp_path / "server.log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", "orchestrator", "serve"], env={**environment, "TMPDIR": str(tmp_path)}, stderr=log
        ) as process,
    ):
        try:
            Siblings(environment["ORCHESTRATOR_GRPC_ADDRESS"]).all_of(2)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_in_order(started: "subprocess.Popen[bytes]", tmp_path: Path, number: signal.Signals):
    family = psutil.Process(started.pid).children()
    assert list(tmp_path.glob("orchestrator-counts-*"))
    started.send_signal(number)
    assert started.wait(END_SECONDS) == 0
    assert not any(map(lives, family))
    assert {line["process"] for line in lines(tmp_path / "server.log", "server.stopped")} == {0, 1}
    assert not list(tmp_path.glob("orchestrator-counts-*"))


def test_a_supervisor_that_is_killed_leaves_nobody(started: "subprocess.Popen[bytes]", tmp_path: Path):
    family = psutil.Process(started.pid).children()
    started.kill()
    wait_until(lambda: not any(map(lives, family)), END_SECONDS, "the end of the processes")
    assert len(lines(tmp_path / "server.log", "server.stopped")) == 2


def test_a_signal_ends_a_start_that_waits(tmp_path: Path):
    """For a database that takes the connection, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(END_SECONDS)
        url = f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/nothing"
        command = [sys.executable, "-m", "orchestrator", "serve", "--processes", "2"]
        with subprocess.Popen(command, env=settings(tmp_path, url)) as process:
            held, _ = silent.accept()
            with held:
                family = psutil.Process(process.pid).children()
                assert len(family) == 1
                os.kill(process.pid, signal.SIGTERM)
                assert process.wait(END_SECONDS) == 0
                assert not any(map(lives, family))
