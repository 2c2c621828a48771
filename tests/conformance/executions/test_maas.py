"""MaaS is asked for the versions and models that an execution names, where the operator wants that."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from orchestrator.embedded.postgres import Postgres
from tests.kit.portal import Portal, new_execution, new_schema, served

VERSION = {
    "id": 4,
    "container_version": "1.4",
    "max_iteration_time": 1004,
    "memory_request": "512Mi",
    "memory_limit": "2Gi",
    "cpu_request": "100m",
    "cpu_limit": "2",
    "other": "ignored",
}


class Maas:
    """A small MaaS: answers with what a test puts into it, and counts what it is asked."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        self.asked.clear()
        self.answers = {
            "/api/ai_engines_versions/4/": (200, {**VERSION, "ai_engine": f"http://{self.host}/api/ai_engines/7/"}),
            "/api/ai_engines/7/": (200, {"id": 7, "container_name": "engine-7"}),
            "/api/ai_models/9/": (200, {"id": 9, "download_resume_retries": 14}),
        }


@pytest.fixture(scope="module")
def running_maas() -> Iterator[Maas]:
    maas: Maas

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            maas.asked[self.path] += 1
            status, content = maas.answers.get(self.path, (404, {"detail": "Not found."}))
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    maas = Maas(f"127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield maas
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def maas(running_maas: Maas) -> Maas:
    running_maas.reset()
    return running_maas


@pytest.fixture(scope="module")
def asking(running_maas: Maas, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    settings = {"VALIDATE_WITH_MAAS": "y", "MAAS_API_HOSTNAME": running_maas.host}
    with served(postgres, tmp_path_factory.mktemp("maas"), **settings) as portal:
        yield portal


def create(portal: Portal, engines: int = 1) -> httpx.Response:
    engine = {**new_schema()["ai_elements"]["ai_engines"][0], "ai_model": True}
    schema = portal.schema(engines=[{**engine, "descriptor": f"D{number}"} for number in range(engines)])
    data, files = new_execution(schema)
    for each in data["ai_elements"]["ai_engines"]:
        each |= {"version": 4, "ai_model": 9}
    answer: httpx.Response = portal.send("POST", "/api/executions/", data, files)
    return answer


def test_each_thing_is_asked_for_once_in_a_call(asking: Portal, maas: Maas):
    answer = create(asking, engines=3)
    assert answer.status_code == 201, answer.text
    assert maas.asked == dict.fromkeys(maas.answers, 1)
    engine = answer.json()["ai_elements"]["ai_engines"][0]
    assert engine["version"] == f"http://{maas.host}/api/ai_engines_versions/4/"


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/api/ai_engines_versions/4/", "AI Engine Version"),
        ("/api/ai_engines/7/", "AI Engine"),
        ("/api/ai_models/9/", "AI Model"),
    ],
)
def test_what_maas_has_not_is_wrong_with_the_engine(asking: Portal, maas: Maas, path: str, what: str):
    before = asking.kept()
    del maas.answers[path]
    answer = create(asking)
    text = f"Error while retrieving {what} from MaaS. Status code 404. {{'detail': 'Not found.'}}"
    assert answer.status_code == 400
    assert answer.json() == {"ai_elements": {"ai_engines": [{"non_field_errors": [text]}]}}
    assert len(asking.kept() - before) == 1, "the schema's alone"


@pytest.mark.parametrize(
    "content",
    [(503, {}), (200, b"<html>"), (200, []), (200, {"id": 4}), (200, {**VERSION, "ai_engine": "file:///etc"})],
)
def test_a_maas_that_fails_is_told_as_such(asking: Portal, maas: Maas, content: tuple[int, Any]):
    path = "/api/ai_engines_versions/4/"
    maas.answers[path] = content
    answer = create(asking)
    assert answer.status_code == 502
    (text,) = answer.json()
    assert text.startswith("Error while retrieving AI Engine Version from MaaS. ")
    assert maas.asked[path] == (2 if content[0] == 503 else 1)


def test_what_is_wrong_otherwise_is_told_without_asking(asking: Portal, maas: Maas):
    assert asking.send("POST", "/api/executions/", {"schema": "none"}).json() == ['"none" does not exist']
    assert asking.send("POST", "/api/executions/", "no json").status_code == 400
    assert not maas.asked
