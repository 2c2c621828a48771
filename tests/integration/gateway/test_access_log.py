"""What the log tells of each call, and that nothing else stands in it."""

import json
import socket
import uuid
from typing import Any

import grpc
import httpx
import pytest

from orchestrator import protos as pb
from tests.kit.waiting import wait_until

from .served import HERE, Served


def lines(served: Served, request: str) -> list[dict[str, Any]]:
    """Return what the log says of a call; its last line is written before it is answered."""
    return [line for line in map(json.loads, served.log.splitlines()) if line.get("request") == request]


def test_a_call_over_grpc_is_told_of_under_the_id_that_its_answer_bears(served: Served, plan: str) -> None:
    key = plan.rpartition("/")[2]
    with served.client("org-1") as client:
        _, call = client.plans.GetPlan.with_call(pb.GetComputePlanParam(key=key))
        request = dict(call.trailing_metadata())["x-request-id"]
        (line,) = lines(served, request)
        assert (line["event"], line["method"], line["code"]) == ("call.answered", "GetPlan", "OK")
        assert (line["organization"], line["channel"]) == ("org-1", HERE)
        assert line["peer"].startswith("ipv4:127.0.0.1:")
        assert line["seconds"] >= 0
        assert key not in str(line)


def test_a_call_keeps_the_id_that_its_caller_gives_and_a_refusal_is_told_with_its_reason(served: Served) -> None:
    given, missing = f"mine-{uuid.uuid4()}", str(uuid.uuid4())
    with served.client("org-1") as client, pytest.raises(grpc.RpcError) as refused:
        client.plans.GetPlan(pb.GetComputePlanParam(key=missing), metadata=(("x-request-id", given),))
    (line,) = lines(served, given)
    assert (line["event"], line["code"]) == ("call.refused", "NOT_FOUND")
    assert line["reason"] == refused.value.details()


def test_who_is_not_let_in_is_told_of_too(served: Served) -> None:
    given = f"mine-{uuid.uuid4()}"
    with served.client("org-2", "there") as client, pytest.raises(grpc.RpcError):
        client.info.QueryVersion(pb.QueryVersionParam(), metadata=(("x-request-id", given),))
    (line,) = lines(served, given)
    assert (line["event"], line["code"]) == ("call.refused", "PERMISSION_DENIED")
    assert "is not open to organization 'org-2'" in line["reason"]


def test_a_stream_is_told_of_when_it_opens_and_when_it_ends(served: Served, plan: str) -> None:
    given = f"stream-{uuid.uuid4()}"
    with served.client("org-1") as client:
        stream = client.events.SubscribeToEvents(pb.SubscribeToEventsParam(), metadata=(("x-request-id", given),))
        next(stream)
        stream.cancel()
    told = wait_until(lambda: found if len(found := lines(served, given)) == 2 else None, 60, "the end of the stream")
    assert [line["event"] for line in told] == ["stream.opened", "call.left"]


@pytest.mark.parametrize("given", ["mine-1", "not\tan id", "x" * 65])
def test_a_call_over_http_has_an_id_too(served: Served, plan: str, given: str) -> None:
    given = f"{given}-{uuid.uuid4()}" if given == "mine-1" else given
    with served.caller("org-1", **{"channel": HERE, "x-request-id": given}) as caller:
        answer = caller.get(plan)
    request = answer.headers["x-request-id"]
    assert (request == given) is given.startswith("mine-1")
    (line,) = lines(served, request)
    assert (line["event"], line["method"], line["organization"]) == ("call.answered", "GetPlan", "org-1")


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_what_is_no_call_has_an_id_and_a_reason_too(served: Served, plan: str, method: str) -> None:
    with served.caller("org-1", **{"channel": HERE}) as caller:
        answer = caller.request(method, "/nowhere" if method == "GET" else plan)
    (line,) = lines(served, answer.headers["x-request-id"])
    assert (line["event"], line["method"], line["status"]) == ("call.refused", method, answer.status_code)
    assert line["reason"] == answer.json()["message"]
    assert line["peer"]
    assert answer.status_code == (httpx.codes.NOT_FOUND if method == "GET" else httpx.codes.METHOD_NOT_ALLOWED)


def test_whatever_comes_to_its_ports_each_line_of_the_log_is_json(served: Served) -> None:
    for address in (served.grpc, served.api, served.http):
        host, _, port = address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=60) as caller:
            caller.sendall(b"\x00\xffthis is no TLS, and no HTTP\r\n\r\n")
            while caller.recv(1024):
                pass
    assert all("event" in json.loads(line) for line in served.log.splitlines())
