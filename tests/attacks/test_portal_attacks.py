"""What comes over the REST API of executions to fill the disk, to take the memory, or to be cut off."""

import contextlib
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from orchestrator.embedded.postgres import Postgres
from tests.kit.portal import Portal, new_execution, new_schema, served
from tests.kit.waiting import wait_until

MIB = 1024 * 1024
DISK = 24 * MIB
CLIENTS = 100


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small disk, where a test may make one."""
    place = tmp_path_factory.mktemp("media")
    mounted = (
        os.getuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "tmpfs", str(place)],
            capture_output=True,
            check=False,
        ).returncode
    )
    yield place
    if mounted:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture(scope="module")
def portal(postgres: Postgres, media: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    with served(postgres, tmp_path_factory.mktemp("portal"), media) as portal:
        yield portal


def nothing_incoming(portal: Portal) -> bool:
    return not any((portal.root / ".incoming").iterdir())


def test_a_full_disk_is_told_and_nothing_is_left(portal: Portal, media: Path):
    if not os.path.ismount(media):
        pytest.skip("needs root: a small disk is mounted")
    schema = portal.schema(inputs={"external_data": True})
    before = portal.kept()
    data, files = new_execution(schema, files={"external_data": b"x" * (DISK + MIB)})
    answer = portal.send("POST", "/api/executions/", data, files)
    assert (answer.status_code, answer.json()) == (507, ["the disk is full"])
    assert portal.kept() == before
    assert nothing_incoming(portal)
    assert portal.execution(schema)["state"] == {"status": "pending"}, "the next that fits is taken"


def test_a_hundred_clients_upload_at_once(portal: Portal):
    alone = portal.kept()
    schema = portal.schema(inputs={"external_data": True})
    before = portal.kept()
    data, files = new_execution(schema, files={"external_data": b"x" * (64 * 1024)})
    barrier = threading.Barrier(CLIENTS)

    def upload(_: int) -> int:
        parts = [("data", (None, json.dumps(data))), *((name, (name, content)) for name, content in files.items())]
        barrier.wait(30)
        return httpx.post(f"http://{portal.host}/api/executions/", files=parts, timeout=60).status_code

    with ThreadPoolExecutor(CLIENTS) as threads:
        codes = list(threads.map(upload, range(CLIENTS)))
    assert set(codes) <= {201, 429, 503}
    done = codes.count(201)
    assert done > 0
    assert portal.get("/api/executions/", params={"schema": schema["name"], "page_size": 1}).json()["count"] == done
    assert len(portal.kept() - before) == 2 * done, "two files each, and none of those that were turned away"
    wait_until(lambda: nothing_incoming(portal), 60, "what was turned away to be gone")
    portal.http.delete(schema["url"])
    assert portal.kept() == alone


def test_many_half_requests_take_no_memory(portal: Portal):
    (server,) = [
        each
        for each in psutil.process_iter(["cmdline"])
        if "serve" in (each.info["cmdline"] or []) and each.environ().get("ORCHESTRATOR_HTTP_ADDRESS") == portal.host
    ]
    before = server.memory_info().rss
    part = f'--x\r\nContent-Disposition: form-data; name="data"\r\n\r\n{{"schema": "{"y" * 200_000}'
    head = (
        "POST /api/executions/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        f"Content-Length: {10 * MIB}\r\n\r\n"
    )
    host, _, port = portal.host.partition(":")
    with contextlib.ExitStack() as connections:
        for _ in range(50):
            connection = connections.enter_context(socket.create_connection((host, int(port)), timeout=60))
            connection.sendall(f"{head}{part}".encode())
        incoming = portal.root / ".incoming"
        wait_until(lambda: len(list(incoming.iterdir())) >= 50, 60, "all to have begun")
        grown = server.memory_info().rss - before
        assert portal.get("/api/schemas/", params={"name": "none"}).status_code == 200, "others are answered"
    assert grown < 100 * MIB
    wait_until(lambda: nothing_incoming(portal), 60, "what was cut off to be gone")


def test_names_of_files_lead_nowhere(portal: Portal):
    outside = {each.name for each in portal.root.parent.iterdir()}
    for name in ("../../evil", "/etc/evil", "..\\evil", "\x00", "a\r\nX-Evil: 1", 'q";evil="1', "." * 300):
        answer = portal.http.post(
            "/api/schemas/", files=[("data", (None, json.dumps(new_schema()))), ("auxiliary_file", (name, b"x"))]
        )
        assert answer.status_code == 201, answer.text
        got = portal.get(answer.json()["auxiliary_file"])
        assert got.content == b"x"
        assert "evil" not in str(got.headers).lower().replace(portal.host, "")
    assert {each.name for each in portal.root.parent.iterdir()} == outside
