"""A server with the examples of the page on calls, and bodies as clients should not send them."""

import functools
import json
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import pytest

from orchestrator import protos as pb
from orchestrator.client import CallError, Client
from orchestrator.core.fields import LARGEST_MESSAGE
from orchestrator.embedded.ports import free_port
from orchestrator.embedded.postgres import Postgres
from tests.kit.servers import serving

MESSAGE_SECONDS = 4.0
MOST_BYTES = 1024 * 1024


@pytest.fixture(scope="module")
def served(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """host:port of gRPC and of HTTP."""
    http = f"127.0.0.1:{free_port()}"
    settings = {
        "ORCHESTRATOR_HTTP_ADDRESS": http,
        "ORCHESTRATOR_API_IDENTITY": "open",
        "ORCHESTRATOR_API_ORGANIZATION": "org-1",
        "ORCHESTRATOR_API_CHANNEL": "channel",
        "ORCHESTRATOR_MESSAGE_TIME": f"{MESSAGE_SECONDS}s",
        "ORCHESTRATOR_SUBMISSION_BYTES": str(MOST_BYTES),
    }
    database = postgres.create_database(f"recipes_{uuid.uuid4().hex}")
    module = "tests.integration.gateway.extended"
    folder = tmp_path_factory.mktemp("recipes")
    with serving(folder, database, {"channel": ["org-1"]}, settings, module=module) as address:
        yield address, http


@pytest.fixture
def client(served: tuple[str, str]) -> Iterator[Client]:
    with Client(served[0], "org-1", "channel", timeout=60) as client:
        yield client


@pytest.fixture
def http(served: tuple[str, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{served[1]}", timeout=30) as http:
        yield http


def test_the_examples_of_the_page_are_served(client: Client, http: httpx.Client):
    key = str(uuid.uuid4())
    registered = http.post("/v1/plans", json={"key": key, "name": "a plan", "metadata": {"a": "b"}})
    assert registered.status_code == 200, registered.text
    assert [registered.json()[field] for field in ("key", "owner", "metadata")] == [key, "org-1", {"a": "b"}]
    assert client.plans.GetPlan(pb.GetComputePlanParam(key=key)).name == "A PLAN"
    assert http.get(f"/v1/plans/{key}").json()["name"] == "a plan"


def test_a_stream_of_the_table_is_answered_as_what_it_is(client: Client):
    events = list(client.events.SubscribeToEvents(pb.SubscribeToEventsParam()))
    assert [(event.id, event.channel) for event in events] == [("3", "channel"), ("2", "channel"), ("1", "channel")]


@pytest.fixture
def register(client: Client) -> Callable[..., pb.Organization]:
    """What takes parts."""
    path = "/orchestrator.OrganizationService/RegisterOrganization"
    method = client._transport.stream_unary(
        path, pb.RegisterOrganizationParam.SerializeToString, pb.Organization.FromString
    )
    return functools.partial(method, metadata=(("mspid", "org-1"), ("channel", "channel")), timeout=20)


def test_a_request_in_parts_is_read_whole(register: Callable[..., pb.Organization]):
    parts = [pb.RegisterOrganizationParam(address=f"https://{number}.example") for number in range(3)]
    assert register(iter(parts)).address == "https://2.example"


def test_parts_that_are_too_many_bytes_together_are_refused(register: Callable[..., pb.Organization]):
    part = pb.RegisterOrganizationParam(address="x" * (MOST_BYTES // 4))
    assert register(iter([part] * 3)).address == part.address
    with pytest.raises(grpc.RpcError) as caught:
        register(iter([part] * 4))
    error = CallError.of(caught.value)
    assert (error.oe_code, error.message) == (
        "OE0003",
        f"the request has more than {MOST_BYTES} bytes, the most that this server takes",
    )


def test_a_part_that_does_not_come_is_given_up_and_too_many_at_once_are_refused(
    register: Callable[..., pb.Organization],
):
    """As long as one is waited for, it holds nothing that others need."""
    silent = threading.Event()

    def slow() -> Iterator[pb.RegisterOrganizationParam]:
        yield pb.RegisterOrganizationParam(address="https://0.example")
        silent.wait(60)

    def told(parts: Iterator[pb.RegisterOrganizationParam]) -> str:
        try:
            return register(parts).address
        except grpc.RpcError as error:
            return CallError.of(error).message

    with ThreadPoolExecutor(12) as threads:
        waiting = [threads.submit(told, slow()) for _ in range(12)]
        try:
            answers = [each.result(60) for each in waiting]
        finally:
            silent.set()
    refused = [answer for answer in answers if "requests in parts in hand" in answer]
    assert len(refused) == 4
    assert set(answers) - set(refused) == {f"the request did not arrive within {MESSAGE_SECONDS:g} s"}
    assert register(iter([pb.RegisterOrganizationParam(address="https://1.example")])).address == "https://1.example"


def test_a_method_that_the_table_has_not_is_not_implemented(client: Client):
    with pytest.raises(grpc.RpcError) as caught:
        client.info.QueryVersion(pb.QueryVersionParam())
    error = CallError.of(caught.value)
    assert (error.status, error.oe_code) == (grpc.StatusCode.UNIMPLEMENTED, "OE0010")


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"\xff", b'{"key": 1}', b'{"colour": "red"}', b'{"metadata": ' * 50_000, b"[" * 1_000_000],
    ids=["nothing", "half", "list", "no text", "number", "unknown field", "deep", "deeper"],
)
def test_a_body_that_is_no_such_message_is_refused(http: httpx.Client, body: bytes):
    answer = http.post("/v1/plans", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] in ("OE0003", "OE0101")
    assert len(answer.content) < 1000


@pytest.mark.parametrize("media", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_what_a_page_of_somebody_else_can_make_a_browser_send_is_refused(http: httpx.Client, media: str | None):
    headers = {"content-type": media} if media else {}
    answer = http.post("/v1/plans", content=b'{"key": ""}', headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "OE0003")


def test_a_body_that_is_too_large_is_refused(http: httpx.Client):
    def chunks() -> Iterator[bytes]:
        for _ in range(LARGEST_MESSAGE // 2**20 + 1):
            yield b" " * 2**20

    answer = http.post("/v1/plans", content=chunks(), headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "OE0003")


def test_a_body_that_does_not_arrive_is_given_up(served: tuple[str, str]):
    host, _, port = served[1].rpartition(":")
    with socket.create_connection((host, int(port)), 60) as connection:
        connection.sendall(
            b"POST /v1/plans HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{"
        )
        # All that comes until the connection is closed.
        head, _, body = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1" in head.lower()
        assert json.loads(body)["message"] == f"the request did not arrive within {MESSAGE_SECONDS:g} s"
