"""HTTP in general: slashes, HEAD, OPTIONS, methods, Accept, bodies and their parts."""

import json
import socket

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.gateway.executions import edge
from tests.kit.portal import Portal, new_schema


def test_the_root_says_where_the_lists_are(portal: Portal):
    answer = portal.get("/api/", headers={"Host": "portal.example:81"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "schemas": "http://portal.example:81/api/schemas/",
        "executions": "http://portal.example:81/api/executions/",
    }


def test_an_unknown_token_is_ignored(portal: Portal):
    assert portal.get("/api/schemas/", headers={"Authorization": "Bearer of somebody"}).status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PATCH", "DELETE"])
def test_a_path_without_its_slash_leads_to_it(portal: Portal, method: str):
    for path in ("/api", "/api/schemas", "/api/schemas/a%20b", "/api/executions/7/update_to_running"):
        answer = portal.http.request(method, f"{path}?a=1&b=%20")
        assert (answer.status_code, answer.content) == (301, b"")
        assert answer.headers["location"] == f"{path}/?a=1&b=%20"
    assert portal.http.request(method, "/api/nothing").status_code == 404


@pytest.mark.parametrize("name", ["a%0Ab", "%0A", "a%23b%3F", "%C2%85", "%F0%94%94%AD", "%ff", "a%00b"])
def test_odd_names_in_paths_are_not_found(portal: Portal, name: str):
    for method, path in (
        ("GET", f"/api/schemas/{name}/"),
        ("DELETE", f"/api/schemas/{name}/"),
        ("GET", f"/api/{name}/"),
    ):
        answer = portal.http.request(method, path)
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."})


def test_a_host_that_is_no_name_is_refused_and_none_is_the_servers(portal: Portal):
    for host in ('a b<c>"', "evil/x?y#", "user@a"):
        answer = portal.get("/api/", headers={"Host": host})
        assert (answer.status_code, answer.json()) == (400, ["the host of the request is no name of a host"])
    for host in ("[::1]:80", "a_b.c-d:8000"):
        assert portal.get("/api/", headers={"Host": host}).json()["schemas"] == f"http://{host}/api/schemas/"
    answer = spoken(portal, b"GET /api/ HTTP/1.0\r\n\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["schemas"] == f"http://{portal.host}/api/schemas/"


def spoken(portal: Portal, said: bytes) -> bytes:
    """Return all that is answered to what is said; whoever resets the connection fails it."""
    host, _, port = portal.host.partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(said)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


EARLY = {
    "a report that has no body": ("PATCH", "/api/executions/999999999/update_to_running/", "text/plain", b"404"),
    "a method": ("PUT", "/api/executions/", "text/plain", b"405"),
    "a media type": ("POST", "/api/executions/", "application/json", b"415"),
    "a body that is none": ("POST", "/api/executions/", "multipart/form-data; boundary=x", b"400"),
}


@pytest.mark.parametrize(("method", "path", "media", "status"), EARLY.values(), ids=EARLY)
def test_what_is_answered_early_reaches_who_sends_all_first(
    portal: Portal, method: str, path: str, media: str, status: bytes
):
    body = b"x" * 4 * 1024 * 1024
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {media}\r\n"
    answer = spoken(portal, f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    assert answer.split(b" ", 2)[1] == status


def test_head_is_get_without_a_body(portal: Portal):
    schema = portal.schema()
    for path in (
        "/api/",
        "/api/schemas/",
        schema["url"],
        f"{schema['url']}download_auxiliary_file/",
        "/api/schemas/no/",
    ):
        got, headed = portal.get(path), portal.http.head(path)
        assert headed.status_code == got.status_code
        assert headed.content == b""
        for name in ("content-type", "content-length", "accept-ranges", "content-disposition"):
            assert headed.headers.get_list(name) == got.headers.get_list(name)
        assert int(headed.headers["content-length"]) == len(got.content)


METHODS = {
    "/api/": "GET, HEAD, OPTIONS",
    "/api/schemas/": "GET, POST, HEAD, OPTIONS",
    "/api/schemas/x/": "GET, DELETE, HEAD, OPTIONS",
    "/api/executions/7/update_to_failed/": "PATCH, OPTIONS",
}


@pytest.mark.parametrize(("path", "allowed"), METHODS.items())
def test_a_method_that_a_path_has_not(portal: Portal, path: str, allowed: str):
    for method in {"GET", "PUT", "POST", "PATCH", "DELETE", "TRACE", "FOO"} - set(allowed.split(", ")):
        answer = portal.http.request(method, path)
        assert (answer.status_code, answer.json()) == (405, {"detail": f'Method "{method}" not allowed.'})
        assert answer.headers["allow"] == allowed
    answer = portal.http.options(path)
    assert (answer.status_code, answer.headers["allow"]) == (200, allowed)


ACCEPTED = {
    "": 200,
    "*/*": 200,
    "application/json": 200,
    "application/*;q=0.5, text/html": 200,
    "text/html, image/gif, image/jpeg, */*; q=.2": 200,
    "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2": 200,
    "application/xml": 406,
    "application/json;q=0": 406,
    "application/octet-stream": 406,
}


@pytest.mark.parametrize(("accept", "status"), ACCEPTED.items())
def test_accept(portal: Portal, accept: str, status: int):
    answer = portal.get("/api/schemas/", headers={"Accept": accept})
    assert answer.status_code == status
    if status == 406:
        assert answer.json() == {"detail": "Could not satisfy the request Accept header."}


def test_a_download_may_ask_for_bytes(portal: Portal):
    url = portal.schema()["auxiliary_file"]
    assert portal.get(url, headers={"Accept": "application/octet-stream"}).status_code == 200


def test_another_media_type_is_not_taken(portal: Portal):
    answer = portal.http.post("/api/schemas/", json=new_schema())
    assert answer.status_code == 415
    assert answer.json() == {"detail": 'Unsupported media type "application/json" in request.'}
    for media in ({}, {"Content-Type": "application/json"}, {"Content-Type": "multipart/form-data; boundary=x"}):
        answer = portal.http.post("/api/executions/", headers=media)
        assert answer.json() == ['"schema" not provided'], "no body is an empty object"


PARSING = "Error while parsing the input json file. "
BROKEN = {
    "no JSON": b"{",
    "a list": b"[]",
    "NaN": b'{"a": NaN}',
    "an infinite number": b'{"a": 1e999}',
    "bad UTF-8": b'{"a": "\xff"}',
    "half a pair": b'{"a": "\\ud800"}',
    "too deep": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a number of many digits": b'{"a": ' + b"9" * 100_000 + b"}",
    "too large": b'{"a": "' + b"x" * 1024 * 1024 + b'"}',
    "empty": b" ",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_data_that_is_no_object(portal: Portal, data: bytes):
    for method, path in (("POST", "/api/executions/"), ("PATCH", "/api/executions/7/update_to_failed/")):
        answer = portal.send(method, path, data)
        assert answer.status_code == 400
        (text,) = answer.json()
        assert text.startswith(PARSING)


BODIES = {
    "no boundary": ("multipart/form-data", b"--x\r\n"),
    "no end": ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="data"\r\n\r\n{}'),
    "garbage": ("multipart/form-data; boundary=x", b"garbage"),
    "headers for ever": ("multipart/form-data; boundary=x", b"--x\r\n" + b"A: b\r\n" * 10_000),
    "a name in no UTF-8": (
        "multipart/form-data; boundary=x",
        b'--x\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n{}\r\n--x--\r\n',
    ),
}


@pytest.mark.parametrize(("media", "body"), BODIES.values(), ids=BODIES)
def test_a_broken_body_is_told_and_leaves_nothing(portal: Portal, media: str, body: bytes):
    before = portal.kept()
    answer = portal.http.post("/api/schemas/", content=body, headers={"Content-Type": media})
    assert answer.status_code == 400
    assert answer.json()[0].startswith(PARSING)
    assert portal.kept() == before
    assert not any((portal.root / ".incoming").iterdir())


def test_parts_in_any_order_of_two_files_the_first_and_data_as_a_file(portal: Portal):
    sent = new_schema()
    parts = [
        ("auxiliary_file", ("C:\\x\\first.yaml", b"first")),
        ("note", (None, "ignored")),
        ("auxiliary_file", ("second.yaml", b"second")),
        ("data", (None, json.dumps({**sent, "unknown": {"key": 1}}), "application/json")),
    ]
    answer = portal.http.post("/api/schemas/?unknown=1", files=parts)
    assert answer.status_code == 201
    got = portal.get(answer.json()["auxiliary_file"])
    assert got.content == b"first"
    assert got.headers["content-disposition"].endswith('.yaml"')


def part(name: str, content: bytes, **more: str) -> bytes:
    """A part of a body whose boundary is x."""
    given = "".join(f"; {key}={value}" for key, value in more.items())
    return f'--x\r\nContent-Disposition: form-data; name="{name}"{given}\r\n\r\n'.encode() + content + b"\r\n"


MULTIPART = {"Content-Type": "multipart/form-data; boundary=x"}
PREAMBLES = {
    "a line break": b"\r\n",
    "text": b"This is a message in parts.\r\n",
    "what looks like it": b"--x1\r\n--y\r\n x--x\r\n",
    "much": b"of a mail\r\n" * 3000,
}


@pytest.mark.parametrize("preamble", PREAMBLES.values(), ids=PREAMBLES)
def test_what_stands_before_and_after_the_parts_is_left_out(portal: Portal, preamble: bytes):
    body = part("data", json.dumps(new_schema()).encode()) + part("auxiliary_file", b"content", filename='"f.yaml"')
    whole = preamble + body + b"--x--\r\nan epilogue"
    for pieces in ([whole], [whole[at : at + 7] for at in range(0, len(whole), 7)]):
        answer = portal.http.post("/api/schemas/", content=iter(pieces), headers=MULTIPART)
        assert answer.status_code == 201, answer.text
        assert portal.get(answer.json()["auxiliary_file"]).content == b"content"
        assert portal.http.delete(answer.json()["url"]).status_code == 204


def test_a_preamble_without_an_end_is_not_kept(portal: Portal):
    answer = portal.http.post("/api/schemas/", content=b"y\r\n" * 100_000, headers=MULTIPART)
    assert (answer.status_code, answer.json()[0].startswith(PARSING)) == (400, True)


EXTENDED = {
    "UTF-8": ("utf-8''gr%C3%B6%C3%9Fe.yaml", ".yaml"),
    "with a language": ("UTF-8'de'%C3%BC.zip", ".zip"),
    "Latin-1": ("iso-8859-1''%FC.csv", ".csv"),
    "not what it says": ("utf-8''%FF.bin", ".bin"),
    "of no character set": ("klingon''a.txt", ".txt"),
    "nothing": ("", ""),
}


@pytest.mark.parametrize(("given", "suffix"), EXTENDED.values(), ids=EXTENDED)
def test_a_file_is_named_by_its_extended_name_too(portal: Portal, given: str, suffix: str):
    file = part("auxiliary_file", b"content", **{"filename*": given})
    body = part("data", json.dumps(new_schema()).encode()) + file + b"--x--\r\n"
    answer = portal.http.post("/api/schemas/", content=body, headers=MULTIPART)
    assert answer.status_code == 201, answer.text
    got = portal.get(answer.json()["auxiliary_file"])
    assert got.content == b"content"
    assert got.headers["content-disposition"].endswith(f'{suffix}"')


def test_a_whole_url_as_the_target_is_its_path_at_its_host(portal: Portal):
    close = b"Host: other\r\nConnection: close\r\n\r\n"
    for target, status, expected in (
        (b"http://proxied.example:81/api/", b"200", b'"schemas": "http://proxied.example:81/api/schemas/"'),
        (b"HTTP://p/api/schemas/?schema=%20", b"200", b'"results"'),
        (b"http://p/api/schemas/a%2Fb/", b"404", b"Not found."),
        (b"http://p/api/schemas?x=1", b"301", b"location: /api/schemas/?x=1"),
        (b"http://user@p/api/", b"400", b"no name of a host"),
        (b"http://p", b"404", b"there is nothing at /"),
    ):
        answer = spoken(portal, b"GET " + target + b" HTTP/1.1\r\n" + close)
        assert answer.split(b" ", 2)[1] == status, target
        assert expected.lower() in answer.lower()


def test_who_offers_http_2_is_answered_by_http_1_and_nothing_is_said_of_it(portal: Portal):
    """What Java's client sends with each request, until a server takes the offer."""
    offer = (
        b"Connection: Upgrade, HTTP2-Settings\r\nHost: x\r\n"
        b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\n"
        b"User-Agent: Java-http-client/17.0.15\r\n"
    )
    schema = portal.schema()
    execution = portal.execution(schema)
    path = f"/api/executions/{execution['id']}/update_to_failed/".encode()
    body = part("data", b'{"message": "m"}') + b"--x--\r\n"
    said = (portal.root.parent / "server.log").stat().st_size
    answers = spoken(
        portal,
        b"GET /api/ HTTP/1.1\r\nContent-Length: 0\r\n" + offer + b"\r\n"
        b"PATCH " + path + b" HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        b"Content-Length: "
        + str(len(body)).encode()
        + b"\r\n"
        + offer
        + b"\r\n"
        + body
        + b"HEAD /api/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    assert answers.count(b"HTTP/1.1 200 OK") == 3
    assert b'"message": "m"' in answers
    log = (portal.root.parent / "server.log").read_bytes()[said:]
    assert b"warning" not in log


def test_a_request_that_breaks_off_leaves_nothing(portal: Portal):
    before = portal.kept()
    host, _, port = portal.host.partition(":")
    with socket.create_connection((host, int(port))) as connection:
        head = "POST /api/schemas/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        part = '--x\r\nContent-Disposition: form-data; name="auxiliary_file"; filename="f"\r\n\r\n'
        connection.sendall(f"{head}Content-Length: 1000000\r\n\r\n{part}".encode() + b"y" * 500_000)
    assert portal.get("/api/").status_code == 200
    assert portal.kept() == before


def test_expect_100_continue_is_answered(portal: Portal):
    host, _, port = portal.host.partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(
            b"POST /api/executions/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
            b"Content-Length: 7\r\nExpect: 100-continue\r\n\r\n"
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 100")
        connection.sendall(b"--x--\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 400")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from([*new_schema(), "schema", "message", "ai_model", "evaluation_metrics", "generic_file"]),
)
def test_whatever_is_sent_gives_no_fault_of_ours(portal: Portal, value: object, field: str):
    for method, path in (
        ("POST", "/api/schemas/"),
        ("POST", "/api/executions/"),
        ("PATCH", "/api/executions/1/update_to_failed/"),
        ("PATCH", "/api/executions/1/update_to_succeeded/"),
    ):
        for data in ({**new_schema(), field: value}, {field: value}):
            answer = portal.http.request(method, path, files=[("data", (None, json.dumps(data)))])
            assert answer.status_code in (200, 201, 400, 404), (path, data, answer.text)


def test_the_hosts_that_are_allowed(portal: Portal):
    with httpx.Client(base_url=f"http://{portal.host}", timeout=60) as http:
        assert http.get("/api/", headers={"Host": "any.example"}).status_code == 200, "any, where none is named"


ALLOWED = {
    "another": ("b.example", ("a.example",), False),
    "itself, in any case": ("A.example", ("b", "a.Example"), True),
    "any": ("b", ("*",), True),
    "below": ("c.B.a.example", (".a.example",), True),
    "the top of what is below": ("a.example", (".a.example",), True),
    "not below": ("ba.example", (".a.example",), False),
    "IPv6": ("[::1]", ("[::1]",), True),
    "none": ("", ("a.example",), False),
}


@pytest.mark.parametrize(("host", "hosts", "may"), ALLOWED.values(), ids=ALLOWED)
def test_which_hosts_are_meant(host: str, hosts: tuple[str, ...], may: bool):
    assert edge.allowed(host, hosts) == may
