"""A call over HTTP is a call like any other: its turn, its limits, its errors and what is counted of it."""

import socket
import uuid
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from orchestrator import protos as pb
from tests.kit.waiting import wait_until

from .served import CALLS, HERE, Served


def counted(served: Served) -> dict[tuple[str, str], float]:
    """How many calls were answered, by method and code."""
    shown = httpx.get(f"http://{served.http}/metrics", timeout=60).text
    (family,) = (each for each in text_string_to_metric_families(shown) if each.name == "orchestrator_calls")
    return {
        (sample.labels["method"], sample.labels["code"]): sample.value
        for sample in family.samples
        if sample.name == "orchestrator_calls_total"
    }


def test_calls_of_both_edges_are_counted_alike(served: Served, plan: str):
    before = counted(served)
    with served.client("org-2") as client, served.caller("org-2") as caller:
        client.plans.GetPlan(pb.GetComputePlanParam(key=plan.rpartition("/")[2]))
        assert caller.get(plan).status_code == 200
        unknown = str(uuid.uuid4())
        with pytest.raises(grpc.RpcError):
            client.plans.GetPlan(pb.GetComputePlanParam(key=unknown))
        assert caller.get(f"/v1/plans/{unknown}").status_code == 404
    with served.caller() as stranger:
        assert stranger.get(plan).status_code == 401
    after = counted(served)
    more = {key: count - before.get(key, 0) for key, count in after.items() if count != before.get(key, 0)}
    assert more == {("GetPlan", "OK"): 2, ("GetPlan", "NOT_FOUND"): 2, ("GetPlan", "UNAUTHENTICATED"): 1}


def test_too_many_calls_of_one_are_refused_whichever_edge_they_come_by(served: Served, plan: str):
    with (
        psycopg.connect(served.database) as holder,
        ThreadPoolExecutor(CALLS) as threads,
        served.caller("org-1", channel=HERE) as caller,
        served.caller("org-2") as other,
        served.client("org-1") as client,
    ):
        holder.execute("LOCK TABLE compute_plans IN ACCESS EXCLUSIVE MODE")
        wanted = pb.GetComputePlanParam(key=plan.rpartition("/")[2])
        waiting = [threads.submit(client.plans.GetPlan, wanted) for _ in range(CALLS)]
        # Until all of them are in hand, a question about a task is answered.
        answer = wait_until(lambda: full(caller), 60, "the calls to be in hand")
        assert answer.json()["code"] == "OE0201"
        assert 1 <= int(answer.headers["retry-after"]) <= 2
        assert other.get(f"/v1/tasks/{uuid.uuid4()}").status_code == 404
        holder.rollback()
        assert all(call.result().key == wanted.key for call in waiting)


def full(caller: httpx.Client) -> httpx.Response | None:
    answer = caller.get(f"/v1/tasks/{uuid.uuid4()}")
    return answer if answer.status_code == 429 else None


def test_connections_that_say_nothing_make_room_for_others(served: Served, plan: str):
    host, _, port = served.api.rpartition(":")
    held = [socket.create_connection((host, int(port)), 60) for _ in range(40)]
    try:
        wait_until(lambda: all(closed(each) for each in held), 60, "the handshakes to be given up")
    finally:
        for each in held:
            each.close()
    with served.caller("org-2") as caller:
        assert caller.get(plan).status_code == 200


def test_half_a_request_is_given_up(served: Served):
    host, _, port = served.api.rpartition(":")
    with (
        socket.create_connection((host, int(port)), 60) as plain,
        served.context("org-2").wrap_socket(plain, server_hostname=host) as connection,
    ):
        connection.sendall(b"GET /v1/plans/a HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        assert connection.recv(65536) == b""


def test_headers_without_end_are_refused(served: Served):
    with served.caller("org-2", padding="x" * 100_000) as caller:
        assert caller.get("/v1/plans/a").status_code == 400


def closed(connection: socket.socket) -> bool:
    connection.settimeout(0.001)
    try:
        return not connection.recv(65536)
    except TimeoutError:
        return False
    except OSError:
        return True
