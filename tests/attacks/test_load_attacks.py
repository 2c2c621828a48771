"""One organization asks for more than a server has; the others, and the workers of all, must not notice."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

import grpc
import httpx
import psutil
import psycopg
import pytest

from orchestrator import protos as pb
from orchestrator.client import AsyncClient, CallError, Client
from orchestrator.embedded.ports import free_port
from orchestrator.embedded.postgres import Postgres
from tests.kit.servers import serving
from tests.kit.waiting import wait_until

CHANNEL = "channel"
GREEDY, MODEST = "org-1", "org-2"
CALLS = 20
MESSAGE_SECONDS = 5
SUBSCRIPTIONS = 5
MIB = 1024 * 1024

SETTINGS = {
    "ORCHESTRATOR_DATABASE_POOL_SIZE": "4",
    "ORCHESTRATOR_CALLS_PER_ORGANIZATION": str(CALLS),
    "ORCHESTRATOR_SUBSCRIPTIONS_PER_ORGANIZATION": str(SUBSCRIPTIONS),
    "ORCHESTRATOR_MESSAGE_TIME": f"{MESSAGE_SECONDS}s",
    "ORCHESTRATOR_PARSED_BYTES": str(256 * 1024 * 1024),
    "ORCHESTRATOR_METRICS_ENABLED": "true",
}


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for all: gRPC's own thread does not outlive a second one."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def database_url(postgres: Postgres) -> str:
    return postgres.create_database("load_attacks")


@pytest.fixture(scope="module")
def http_address() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture(scope="module")
def address(database_url: str, http_address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = {**SETTINGS, "ORCHESTRATOR_HTTP_ADDRESS": http_address}
    channels = {CHANNEL: [GREEDY, MODEST]}
    with serving(tmp_path_factory.mktemp("server"), database_url, channels, settings) as address:
        for name in channels[CHANNEL]:
            with Client(address, name, CHANNEL) as client:
                client.organizations.RegisterOrganization(pb.RegisterOrganizationParam())
        yield address


@pytest.fixture
def stuck(database_url: str, address: str) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """Make every call about a plan wait until the end of the test, or of the transaction."""
    with psycopg.connect(database_url) as holder:
        holder.execute("LOCK TABLE compute_plans IN ACCESS EXCLUSIVE MODE")
        yield holder
        holder.rollback()


def register(client: AsyncClient) -> "asyncio.Task[object]":
    return asyncio.ensure_future(_registered(client))


async def _registered(client: AsyncClient) -> object:
    return await client.plans.RegisterPlan(pb.NewComputePlan(key=str(uuid.uuid4()), name="greedy"))


def test_too_many_calls_of_one_are_refused_and_nobody_else_notices(runner, address, http_address, stuck):
    async def attack() -> list[CallError]:
        async with (
            AsyncClient(address, GREEDY, CHANNEL, timeout=90) as greedy,
            AsyncClient(address, MODEST, CHANNEL, timeout=30) as modest,
        ):
            calls = [register(greedy) for _ in range(3 * CALLS)]
            refused, _ = await asyncio.wait(calls, timeout=60, return_when=asyncio.FIRST_COMPLETED)
            while len(refused) < 2 * CALLS:
                more, _ = await asyncio.wait(set(calls) - refused, timeout=60, return_when=asyncio.FIRST_COMPLETED)
                assert more, f"{len(refused)} of {len(calls)} were answered"
                refused |= more
            for _ in range(20):
                await modest.organizations.GetAllOrganizations(pb.GetAllOrganizationsParam())
            # Whatever its organization asks for, a worker keeps its leases.
            await greedy.worker.Heartbeat(pb.HeartbeatParam(node="node-1"), timeout=30)
            stuck.rollback()
            await asyncio.gather(*(call for call in calls if call not in refused))
            return [error for error in (call.exception() for call in refused) if isinstance(error, CallError)]

    errors = runner.run(attack())
    assert len(errors) == 2 * CALLS
    assert {(error.status, error.oe_code) for error in errors} == {(grpc.StatusCode.UNAVAILABLE, "OE0201")}
    assert all(0.5 <= error.pause <= 1.5 for error in errors)
    shown = httpx.get(f"http://{http_address}/metrics", timeout=60).text
    assert f'orchestrator_calls_refused_total{{organization="{GREEDY}"}}' in shown
    assert f'organization="{MODEST}"' not in shown


def test_calls_of_several_that_wait_for_what_is_locked_leave_places_to_all_others(runner, address, stuck):
    """Each alone would leave some: together they hold as many as there are."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"

    def are_held_up() -> bool:
        (row,) = stuck.execute(waiting).fetchall()
        return row[0] > 0

    async def attack() -> None:
        async with (
            AsyncClient(address, GREEDY, CHANNEL, timeout=90) as greedy,
            AsyncClient(address, MODEST, CHANNEL, timeout=90) as modest,
        ):
            calls = [register(client) for client in (greedy, modest) for _ in range(4)]
            await asyncio.sleep(0)
            await asyncio.to_thread(wait_until, are_held_up)
            for client in (greedy, modest):
                for _ in range(5):
                    await client.organizations.GetAllOrganizations(pb.GetAllOrganizationsParam())
            assert not any(call.done() for call in calls)
            stuck.rollback()
            await asyncio.gather(*calls)

    runner.run(attack())


def test_our_own_clients_come_again_after_the_pause(runner, address, stuck):
    """Reads do so inside gRPC, the others in the SDK."""

    async def attack() -> None:
        async with AsyncClient(address, GREEDY, CHANNEL, timeout=90) as greedy:
            full = [register(greedy) for _ in range(CALLS)]
            await asyncio.sleep(0)
            more: list[Awaitable[object]] = [
                greedy.plans.QueryPlans(pb.QueryPlansParam()),
                greedy.submit(greedy.plan("again")),
                greedy.organizations.GetAllOrganizations(pb.GetAllOrganizationsParam()),
            ]
            waiting = [asyncio.ensure_future(call) for call in more]
            await asyncio.wait(waiting, timeout=1.0)
            stuck.rollback()
            await asyncio.gather(*waiting)
            await asyncio.wait(full)

    runner.run(attack())


def test_subscriptions_of_one_are_limited(runner, address):
    async def attack() -> None:
        async with (
            AsyncClient(address, GREEDY, CHANNEL) as greedy,
            AsyncClient(address, MODEST, CHANNEL) as modest,
        ):
            streams = [greedy.events.SubscribeToEvents(pb.SubscribeToEventsParam()) for _ in range(SUBSCRIPTIONS)]
            for stream in streams:
                await stream.read()
            with pytest.raises(grpc.RpcError, match="OE0201") as caught:
                await greedy.events.SubscribeToEvents(pb.SubscribeToEventsParam()).read()
            assert CallError.of(caught.value).pause > 0
            assert await modest.events.SubscribeToEvents(pb.SubscribeToEventsParam()).read()
            streams[0].cancel()
            # The place is free as soon as the server knows.
            async with asyncio.timeout(60):
                while not await _subscribes(greedy):
                    await asyncio.sleep(0.1)

    runner.run(attack())


async def _subscribes(client: AsyncClient) -> bool:
    try:
        return bool(await client.events.SubscribeToEvents(pb.SubscribeToEventsParam()).read())
    except grpc.RpcError:
        return False


def test_requests_that_never_arrive_are_given_up_and_hold_up_nobody(runner, address):
    async def attack() -> list[float]:
        async with grpc.aio.insecure_channel(address) as transport, AsyncClient(address, MODEST, CHANNEL) as modest:
            # On the wire it is the same method; its message never comes.
            method = transport.stream_unary("/orchestrator.ComputePlanService/QueryPlans")
            calls = [method(metadata=(("mspid", GREEDY), ("channel", CHANNEL))) for _ in range(CALLS)]
            for call in calls:
                await call.initial_metadata() if call.done() else await asyncio.sleep(0)
            began = time.monotonic()
            for _ in range(20):
                await modest.organizations.GetAllOrganizations(pb.GetAllOrganizationsParam())
            assert time.monotonic() - began < MESSAGE_SECONDS
            codes = [await asyncio.wait_for(call.code(), 20 * MESSAGE_SECONDS) for call in calls]
            assert set(codes) == {grpc.StatusCode.UNAVAILABLE}

    runner.run(attack())


@contextmanager
def growing(server: psutil.Process) -> Iterator[Callable[[], int]]:
    """Watch the memory of a process; what is returned tells how much more than now it had at most."""
    before = most = server.memory_info().rss
    ended = Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.01):
            most = max(most, server.memory_info().rss)

    watching = Thread(target=watch)
    watching.start()
    try:
        yield lambda: most - before
    finally:
        ended.set()
        watching.join()


def test_large_requests_are_taken_one_after_another(runner, address):
    request = pb.NewComputePlan(key=str(uuid.uuid4()), name="x" * 60 * MIB)

    async def answered(greedy: AsyncClient) -> str:
        while True:
            try:
                await greedy.plans.RegisterPlan(request)
            except CallError as error:
                # On a machine that does much else it may arrive too late for this server's settings.
                if error.status is not grpc.StatusCode.UNAVAILABLE:
                    return error.oe_code

    async def attack() -> None:
        async with AsyncClient(address, GREEDY, CHANNEL, timeout=90) as greedy:
            assert {*await asyncio.gather(*(answered(greedy) for _ in range(8)))} == {"OE0101"}

    server = process_behind(address)
    before = server.memory_info().rss
    with growing(server) as grown:
        runner.run(attack())
    assert grown() < 600 * MIB
    wait_until(lambda: server.memory_info().rss - before < 40 * MIB, 60, "the memory to come back")


def test_a_request_that_would_take_much_more_memory_than_bytes_is_never_parsed(address: str):
    with growing(process_behind(address)) as grown, grpc.insecure_channel(address) as transport:
        register = transport.unary_unary("/orchestrator.ComputeTaskService/RegisterTasks")
        for empty in (b"\n\0", b"\x8a\x80\0\x80\0", b"\n\3\x82\1\0"):
            attack = empty * (24 * MIB // len(empty))
            with pytest.raises(grpc.RpcError, match="OE0003: the request may take") as caught:
                register(attack, metadata=(("mspid", GREEDY), ("channel", CHANNEL)), timeout=60)
            assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert grown() < 150 * MIB


def process_behind(address: str) -> psutil.Process:
    """Return the process that listens on an address."""
    port = int(address.rpartition(":")[2])
    (pid,) = {
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.laddr.port == port and connection.status == psutil.CONN_LISTEN
    }
    return psutil.Process(pid)


def test_scrapes_that_wait_for_the_database_are_limited(database_url, http_address, address):
    async def scrape() -> tuple[list[httpx.Response], list[httpx.Response]]:
        async with httpx.AsyncClient(base_url=f"http://{http_address}", timeout=60) as scraper:
            waiting = {asyncio.create_task(scraper.get("/metrics")) for _ in range(10)}
            refused: list[httpx.Response] = []
            while len(refused) < 6:
                answered, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                refused += [answer.result() for answer in answered]
            holder.rollback()
            return refused, await asyncio.gather(*waiting)

    with psycopg.connect(database_url) as holder:
        holder.execute("LOCK TABLE sweeps IN ACCESS EXCLUSIVE MODE")
        answers, late = asyncio.run(scrape())
    assert [answer.status_code for answer in late] == [200] * 4
    assert {answer.status_code for answer in answers} == {429}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)
    assert all(answer.json()["error"].startswith("OE0201") for answer in answers)
