"""Errors and repetitions of single calls, over real gRPC."""

import asyncio
import inspect

import grpc
import pytest

from orchestrator import protos as pb
from orchestrator.client import AsyncClient, CallError, Client
from orchestrator.client.retrying import SAFE_TO_REPEAT

from .lossy import GONE, Lossy, losing

KEY = "11111111-1111-1111-1111-111111111111"


def empty(path: str, parts: list[bytes], context: object) -> bytes:
    return b""


def test_a_read_is_sent_again_until_it_is_answered():
    lossy = Lossy({"GetPlan": 2}, empty)
    with losing(lossy) as address, Client(address, "org-1", "channel") as client:
        assert client.plans.GetPlan(pb.GetComputePlanParam(key=KEY)) == pb.ComputePlan()
    assert lossy.calls == {"GetPlan": 3}


def test_the_calls_of_a_worker_are_sent_again():
    lossy = Lossy({"ClaimTask": 2, "CompleteTask": 2, "FailTask": 2, "Heartbeat": 2}, empty)
    with losing(lossy) as address, Client(address, "org-1", "channel") as client:
        client.worker.ClaimTask(pb.ClaimTaskParam())
        client.worker.CompleteTask(pb.CompleteTaskParam())
        client.worker.FailTask(pb.FailTaskParam())
        client.worker.Heartbeat(pb.HeartbeatParam())
    assert set(lossy.calls.values()) == {3}


def test_a_call_that_changes_something_is_sent_once():
    lossy = Lossy({"RegisterPlan": 2}, empty)
    with losing(lossy) as address, Client(address, "org-1", "channel") as client:
        with pytest.raises(CallError, match=GONE) as caught:
            client.plans.RegisterPlan(pb.NewComputePlan(key=KEY))
        assert caught.value.status is grpc.StatusCode.UNAVAILABLE
        assert caught.value.lost
    assert lossy.calls == {"RegisterPlan": 1}


def test_asyncio_sends_a_read_again_and_a_change_once():
    lossy = Lossy({"GetPlan": 2, "RegisterPlan": 2}, empty)

    async def ask(address: str) -> None:
        async with AsyncClient(address, "org-1", "channel") as client:
            assert await client.plans.GetPlan(pb.GetComputePlanParam(key=KEY)) == pb.ComputePlan()
            with pytest.raises(CallError, match=GONE):
                await client.plans.RegisterPlan(pb.NewComputePlan(key=KEY))

    with losing(lossy) as address:
        asyncio.run(ask(address))
    assert lossy.calls == {"GetPlan": 3, "RegisterPlan": 1}


def test_what_may_be_repeated_exists_and_each_read_may():
    contract = {
        service.full_name: {method.name for method in service.methods}
        for name, module in inspect.getmembers(pb, inspect.ismodule)
        if name.endswith("_pb2") and hasattr(module, "DESCRIPTOR")
        for service in module.DESCRIPTOR.services_by_name.values()
    }
    assert all(set(methods) <= contract[service] for service, methods in SAFE_TO_REPEAT.items())
    reads = {
        method
        for methods in contract.values()
        for method in methods
        if method.startswith(("Count", "Explain", "Find", "Get", "Query", "Is")) and method != "SubscribeToEvents"
    }
    repeated = {method for methods in SAFE_TO_REPEAT.values() for method in methods}
    worker = {"ClaimTask", "CompleteTask", "DeclineTask", "FailTask", "Heartbeat", "ReconsiderTasks", "ReleaseTask"}
    worker |= {"ClaimAgreed", "ClaimTasks", "CompleteTasks"}
    looks, modules = {"BeginLook", "EndLook"}, {"RegisterModule", "ReportModule"}
    # What comes in parts is asked for again by whoever counts the parts.
    assert repeated == (reads | worker | looks | modules) - {"GetStageInputs"}


def test_a_refusal_tells_code_status_and_message(network):
    for client in (network.data, network.hub):
        with pytest.raises(CallError) as caught:
            client.plans.GetPlan(pb.GetComputePlanParam(key=KEY))
        assert (caught.value.oe_code, caught.value.status) == ("OE0002", grpc.StatusCode.NOT_FOUND)
        assert KEY in caught.value.message
        assert not caught.value.lost


def test_a_future_is_refused_when_it_is_asked(network):
    future = network.data.plans.GetPlan.future(pb.GetComputePlanParam(key=KEY))
    with pytest.raises(grpc.RpcError) as caught:
        future.result(timeout=30)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_nobody_there_is_an_error_for_people():
    with losing(Lossy({}, empty)) as address:
        pass
    with Client(address, "org-1", "channel") as client, pytest.raises(CallError) as caught:
        client.plans.RegisterPlan(pb.NewComputePlan(key=KEY))
    assert caught.value.lost
    assert caught.value.oe_code == ""


def test_whether_a_server_is_there_is_asked_once():
    lossy = Lossy({"Check": 1}, empty)
    with losing(lossy) as address, Client(address, "org-1", "channel") as client:
        with pytest.raises(CallError) as lost:
            client.ping()
        assert lossy.calls == {"Check": 1}, "it is no call that is repeated"
        client.ping()
    with Client(address, "org-1", "channel") as client, pytest.raises(CallError) as gone:
        client.ping()
    assert {lost.value.status, gone.value.status} == {grpc.StatusCode.UNAVAILABLE}
