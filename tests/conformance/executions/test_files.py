"""Files: served as they came, whole and in parts, with one length."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.gateway.executions import ranges
from tests.kit.portal import Portal

SIZE = 300_000


@pytest.fixture(scope="module")
def content() -> bytes:
    return os.urandom(SIZE)


@pytest.fixture(scope="module")
def url(portal: Portal, content: bytes) -> str:
    schema = portal.schema(inputs={"external_data": True})
    execution = portal.execution(schema, files={"external_data": content})
    return f"{execution['url']}download_external_data/"


RANGES: dict[str, tuple[int, int, int]] = {
    "bytes=0-9": (206, 0, 10),
    "bytes=100-": (206, 100, SIZE),
    f"bytes=100-{SIZE}": (206, 100, SIZE),
    f"bytes={SIZE - 1}-{SIZE * 10}": (206, SIZE - 1, SIZE),
    "bytes=-100": (206, SIZE - 100, SIZE),
    f"bytes=-{SIZE * 2}": (206, 0, SIZE),
    f"bytes={SIZE}-": (416, 0, 0),
    f"bytes={'9' * 40}-": (416, 0, 0),
    "items=0-9": (200, 0, SIZE),
    "bytes=9-0": (200, 0, SIZE),
    "bytes=-": (200, 0, SIZE),
    "bytes=0-1,5-6": (200, 0, SIZE),
}


@pytest.mark.parametrize(("asked", "part"), RANGES.items())
def test_a_part(portal: Portal, url: str, content: bytes, asked: str, part: tuple[int, int, int]):
    status, begin, end = part
    for answer in (portal.get(url, headers={"Range": asked}), portal.http.head(url, headers={"Range": asked})):
        assert answer.status_code == status
        assert len(answer.headers.get_list("content-length")) == 1
        if status == 416:
            assert answer.headers["content-range"] == f"bytes */{SIZE}"
            continue
        assert int(answer.headers["content-length"]) == end - begin
        assert answer.headers.get("content-range") == (f"bytes {begin}-{end - 1}/{SIZE}" if status == 206 else None)
    if status != 416:
        assert portal.get(url, headers={"Range": asked}).content == content[begin:end]


def test_the_whole(portal: Portal, url: str, content: bytes):
    answer = portal.get(url)
    assert answer.content == content
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-disposition"].startswith("attachment; filename=")
    assert answer.headers["content-disposition"].endswith('.bin"')
    assert "content-encoding" not in answer.headers
    assert "transfer-encoding" not in answer.headers


def test_what_a_schema_does_not_take_cannot_be_downloaded(portal: Portal):
    schema = portal.schema()
    execution = portal.execution(schema)
    for part, noun in (("external_data", "external data"), ("report_metadata", "report metadata")):
        answer = portal.get(f"{execution['url']}download_{part}/")
        assert (answer.status_code, answer.json()) == (400, [f'"{schema["name"]}" does not require {noun}'])


def test_the_variables_of_an_engine(portal: Portal):
    execution = portal.execution(portal.schema())
    path = f"{execution['url']}download_user_vars/"
    missing: Any = ["descriptor query parameter is missing"]
    for there in (path, "/api/executions/999999/download_user_vars/"):
        answer = portal.get(there)
        assert (answer.status_code, answer.json()) == (400, missing)
    assert portal.get("/api/executions/999999/download_user_vars/?descriptor=D").status_code == 404
    answer = portal.get(path, params={"descriptor": "D"})
    assert answer.json() == ["does not exist an AI Engine in the schema with that descriptor"]
    assert portal.get(path, params={"descriptor": "main-ai-engine"}).content == b'{"epochs": 3}'


def test_who_downloads_what_is_being_deleted_gets_it_or_is_told_that_it_is_not_there(portal: Portal):
    schema = portal.schema(inputs={"external_data": True})
    for _ in range(4):
        execution = portal.execution(schema)
        url = f"{execution['url']}download_external_data/"
        with ThreadPoolExecutor(12) as threads:
            asked = [threads.submit(portal.get, url) for _ in range(5)]
            deleted = threads.submit(portal.http.delete, execution["url"])
            asked += [threads.submit(portal.get, url) for _ in range(6)]
            assert {each.result().status_code for each in asked} <= {200, 404}
        assert deleted.result().status_code == 204


def test_a_large_file_is_served_as_it_came(portal: Portal):
    content = os.urandom(1024 * 1024) * 12
    schema = portal.schema(inputs={"external_data": True})
    execution = portal.execution(schema, files={"external_data": content})
    assert portal.get(f"{execution['url']}download_external_data/").content == content
    assert portal.http.delete(schema["url"]).status_code == 204


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.text("bytes=-0123456789, ", max_size=16), st.integers(0, 1000))
def test_a_range_lies_in_the_file(header: str, size: int):
    try:
        part = ranges.read(header, size)
    except ranges.UnsatisfiableError:
        return
    if part is not None:
        assert 0 <= part[0] < part[1] <= size
