"""Several processes of one server: events cross from one to the other, and the death of one loses nothing."""

import contextlib
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import grpc
import psutil
import pytest

from orchestrator import protos as pb
from orchestrator.embedded.postgres import Postgres
from tests.kit.messages import new_plan
from tests.kit.organization import Organization
from tests.kit.servers import serving
from tests.kit.siblings import Siblings
from tests.kit.transports import Wire
from tests.kit.waiting import wait_until

CALLERS = 6


@pytest.fixture(scope="module")
def siblings(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siblings]:
    url = postgres.create_database(f"siblings_{uuid.uuid4().hex}")
    channels = {name: ["org-1"] for name in ("across", "resumed", "acknowledged")}
    with serving(tmp_path_factory.mktemp("server"), url, channels, {"ORCHESTRATOR_PROCESSES": "2"}) as address:
        yield Siblings(address)


@contextlib.contextmanager
def caller(siblings: Siblings, process: psutil.Process, channel: str) -> Iterator[Organization]:
    with siblings.channel_to(process) as transport:
        yield Organization(Wire(transport), "org-1", channel)


@contextlib.contextmanager
def alone(siblings: Siblings, victim: psutil.Process) -> Iterator[None]:
    """Kill a process; nobody takes its place before the block ends."""
    siblings.supervisor.suspend()
    try:
        victim.kill()
        wait_until(lambda: victim not in siblings.listening(), message="its end")
        yield
    finally:
        siblings.supervisor.resume()
    siblings.all_of(2)


def answered(org: Organization, request: pb.NewComputePlan) -> None:
    """Send a request until somebody answers."""
    while True:
        try:
            org.send(request)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.ALREADY_EXISTS:
                return
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
        else:
            return


def test_events_reach_those_who_are_connected_to_another_process(siblings: Siblings):
    first, second = siblings.all_of(2)
    with caller(siblings, first, "across") as reader, caller(siblings, second, "across") as writer:
        writer.send(pb.RegisterOrganizationParam())
        streams = [each.subscribe(timeout=60) for each in (reader, writer)]
        plans = [writer.register_plan().key, reader.register_plan().key]
        for stream in streams:
            assert [event.asset_key for event in islice(stream, 3)] == ["org-1", *plans]
            stream.cancel()


def test_a_stream_whose_process_is_killed_goes_on_at_the_other(siblings: Siblings):
    victim, other = siblings.all_of(2)
    with caller(siblings, victim, "resumed") as reader, caller(siblings, other, "resumed") as writer:
        writer.send(pb.RegisterOrganizationParam())
        stream = reader.subscribe(timeout=60)
        last = next(stream)
        with alone(siblings, victim):
            with pytest.raises(grpc.RpcError) as caught:
                next(stream)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
            missed = [writer.register_plan().key for _ in range(3)]
            wait_until(lambda: pinged(reader), message="a connection to the other")
            stream = reader.subscribe(last.id, timeout=60)
            assert [event.asset_key for event in islice(stream, 3)] == missed
        later = writer.register_plan().key
        assert next(stream).asset_key == later
        stream.cancel()


def pinged(org: Organization) -> bool:
    try:
        org.send(pb.QueryVersionParam())
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return False
    return True


def test_a_killed_process_loses_nothing_that_was_acknowledged(siblings: Siblings):
    told: list[str] = []
    enough = threading.Event()

    def register(org: Organization) -> None:
        while not enough.is_set():
            request = new_plan()
            answered(org, request)
            told.append(request.key)

    def more() -> None:
        reached = len(told)
        wait_until(lambda: len(told) > reached + 3 * CALLERS, 60, "answers")

    with contextlib.ExitStack() as connections:
        both = siblings.all_of(2)
        callers = [
            connections.enter_context(caller(siblings, both[number % 2], "acknowledged")) for number in range(CALLERS)
        ]
        callers[0].send(pb.RegisterOrganizationParam())
        with ThreadPoolExecutor(CALLERS) as threads:
            done = [threads.submit(register, org) for org in callers]
            try:
                for victim in both:
                    more()
                    with alone(siblings, victim):
                        more()
            finally:
                enough.set()
            for each in done:
                each.result()
        org = callers[0]
        assert {plan.key for plan in org.all(pb.QueryPlansParam(page_size=1000))} == set(told)
        created = Counter(event.asset_key for event in org.events(asset_kind=pb.ASSET_COMPUTE_PLAN))
        assert created == Counter(told)
