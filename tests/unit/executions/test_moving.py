"""A service that is moved away from, and shows only a part of what it has."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from orchestrator.embedded.ports import free_port
from orchestrator.executions import states
from orchestrator.executions.moving import documents
from orchestrator.executions.moving.source import EXECUTIONS, SCHEMAS, AwayError, Source, UnreadableError, at

TOKEN = "of-the-other-service"


class Other:
    """A service; some rows of its lists it cannot show, and then no page that has one of them.

    Attributes:
        poisoned: numbers of such rows, from 1.
        count: of the rows.
        file: the body and the length that a download claims.
        away: how many requests are answered 503 first.
    """

    def __init__(self) -> None:
        self.poisoned: set[int] = set()
        self.count = 250
        self.file = (b"content", 7)
        self.away = 0
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        self.asked.append(path)
        if self.away:
            self.away -= 1
            return 503, b"<html>later</html>"
        if path != EXECUTIONS:
            return 404, b'{"detail": "Not found."}'
        page, size = int(query["page"]), int(query["page_size"])
        rows = range((page - 1) * size + 1, min(page * size, self.count) + 1)
        if not rows and page > 1:
            return 404, b'{"detail": "Invalid page."}'
        if self.poisoned & {*rows}:
            return 500, b"<html>NoReverseMatch</html>"
        more = f"http://elsewhere/?page={page + 1}" if page * size < self.count else None
        shown = {"count": self.count, "next": more, "previous": None, "results": [{"id": each} for each in rows]}
        return 200, json.dumps(shown).encode()


@pytest.fixture
def other() -> Iterator[tuple[Other, str]]:
    made = Other()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            made.tokens.add(self.headers.get("Authorization"))
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            if "download" in parts.path:
                status, (body, length) = 200, made.file
            else:
                status, body = made.answer(parts.path, query)
                length = len(body)
            self.send_response(status)
            self.send_header("Content-Disposition", 'attachment; filename="a b.zip"')
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield made, f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def source(other: tuple[Other, str]) -> Iterator[Source]:
    made = Source(other[1], TOKEN, pauses=(0.0, 0.0))
    yield made
    made.close()


def ids(rows: Any) -> list[Any]:
    return [row["id"] if isinstance(row, dict) else str(row) for row in rows]


def test_all_pages_are_read(other, source):
    assert ids(source.rows(EXECUTIONS)) == [*range(1, 251)]
    assert other[0].tokens == {f"Bearer {TOKEN}"}
    assert len(other[0].asked) == 3
    other[0].count = 0
    assert ids(source.rows(EXECUTIONS)) == []


def test_rows_that_spoil_their_page_are_named_and_the_others_are_read(other, source):
    other[0].poisoned = {3, 200}
    read = ids(source.rows(EXECUTIONS))
    assert [each for each in read if isinstance(each, int)] == [each for each in range(1, 251) if each not in (3, 200)]
    assert [each for each in read if isinstance(each, str)] == [
        f"number {number} of {EXECUTIONS}: it answers 500" for number in (3, 200)
    ]


def test_a_list_of_which_nothing_can_be_read_is_given_up(other, source):
    other[0].poisoned = {*range(1, 251)}
    read = ids(source.rows(EXECUTIONS))
    assert (len(read), len(other[0].asked)) == (51, 51)
    assert read[-1] == f"{EXECUTIONS} from number 51 on: nothing of it can be read"


def test_one_that_is_away_is_asked_again_and_given_up(other, source):
    other[0].away = 2
    assert ids(source.rows(EXECUTIONS)) == [*range(1, 251)]
    other[0].away = 3
    with pytest.raises(AwayError, match="it answers 503"):
        [*source.rows(EXECUTIONS)]
    nobody = Source(f"http://127.0.0.1:{free_port()}", pauses=(0.0,))
    with pytest.raises(AwayError, match="cannot be read"):
        [*nobody.rows(SCHEMAS)]
    nobody.close()


def test_a_download_is_whole_or_none(other, source, tmp_path):
    path = at(EXECUTIONS, 7, "download_user_vars")
    with source.download(path, tmp_path, descriptor="main") as upload:
        assert (upload.name, upload.size, upload.path.read_bytes()) == ("a b.zip", 7, b"content")
    other[0].file = (b"con", 7)
    with pytest.raises(AwayError), source.download(path, tmp_path):
        """It breaks off each time."""
    other[0].file = (b"", 0)
    with pytest.raises(UnreadableError, match="empty"), source.download(path, tmp_path):
        """There is nothing to keep."""
    assert not [*tmp_path.iterdir()]


def test_paths_are_quoted():
    assert (
        at(SCHEMAS, "größe a?b", "download_auxiliary_file")
        == "/api/schemas/gr%C3%B6%C3%9Fe%20a%3Fb/download_auxiliary_file/"
    )


def execution(**changes: Any) -> dict[str, Any]:
    return {
        "url": "http://other/api/executions/7/",
        "id": 7,
        "schema": "http://other/api/schemas/gr%C3%B6%C3%9Fe%201/",
        "created_at": "2026-11-26T22:27:49.250675+01:00",
        "updated_at": "2026-11-26T22:27:49.250708+01:00",
        "state": {"status": "pending"},
        "input_elements": {},
        "ai_elements": {"ai_engines": [{"descriptor": "main", "version": "http://m/api/ai_engines_versions/4/"}]},
        "output_elements": {"ai_model": {"name": "m", "description": "d", "merge_type": None}},
        **changes,
    }


def test_an_execution_is_read_from_what_is_shown():
    read = documents.execution(execution())
    assert (read.id, read.schema, read.status, read.engines[0].version) == (7, "größe 1", states.PENDING, 4)
    assert read.created_at.ToJsonString() == "2026-11-26T21:27:49.250675Z"
    assert (read.output_model.name, read.output_model.HasField("merge_type")) == ("m", False)
    made = {"generic_file": {"generic_file": "http://m/api/generic_files/31/"}}
    done = documents.execution(execution(state={"status": "succeeded"}, output_elements=made))
    assert (done.results.generic_file, done.HasField("output_model")) == (31, False)
    failed = documents.execution(execution(state={"status": "failed", "message": "no"}))
    assert failed.message == "no"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": True}, "its id is missing or no int"),
        ({"id": 2**63}, "its id 9223372036854775808 cannot be here"),
        ({"state": {"status": "odd"}}, "its state 'odd' is none that is known"),
        ({"state": {"status": "failed", "message": "a\0b"}}, "its message has characters that cannot be kept"),
        ({"schema": "http://other/\ud800/"}, "its schema has characters that cannot be kept"),
        ({"created_at": "yesterday"}, "its created_at is no time"),
        ({"created_at": "2026-11-26T22:27:49"}, "its created_at does not say its zone"),
        ({"ai_elements": {"ai_engines": [7]}}, "its descriptor is missing or no str"),
        ({"ai_elements": {"ai_engines": [{"descriptor": "m", "version": "four"}]}}, "'four' does not end with an id"),
        ({"input_elements": {"federated_learning_configuration": {"number_iterations": -5}}}, "-5 cannot be here"),
    ],
)
def test_what_cannot_be_here_is_told(changes, words):
    with pytest.raises(UnreadableError, match=words):
        documents.execution(execution(**changes))


@pytest.mark.parametrize("name", ["a/b", "a.b", " a", "x" * 101])
def test_a_name_that_cannot_be_here(name):
    with pytest.raises(UnreadableError, match="its name cannot be here"):
        documents.schema({"name": name})
