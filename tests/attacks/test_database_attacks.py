"""A database that fails as databases do: read-only, silent, gone, somewhere else. Calls are answered UNAVAILABLE, the
server says that it is not ready, nothing is discarded, and all is well soon after."""

import asyncio
import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import httpx
import psycopg
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import migrations
from orchestrator import protos as pb
from orchestrator.client import PUBLIC, CallError, Client
from orchestrator.embedded.ports import HOST, free_port
from orchestrator.embedded.postgres import Postgres
from orchestrator.engine import vitals
from orchestrator.engine.transaction import Database
from orchestrator.store import connecting
from tests.kit.proxy import Proxy
from tests.kit.recorded import Recorded
from tests.kit.servers import serving
from tests.kit.temporary import passable
from tests.kit.waiting import wait_until
from tests.kit.world import STORE_URL, World
from workers.channels import connect
from workers.consent.declines import Asking
from workers.consent.policy import Consent
from workers.run import attempt
from workers.run.slot import Slot

ORGANIZATION = "org-1"
CHANNEL = "known"
CHANNELS = {CHANNEL: [ORGANIZATION], "other": [ORGANIZATION]}
BACK_SECONDS = 15.0


@pytest.fixture(scope="module")
def primary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A Postgres whose settings a test may change."""
    folder = passable(tmp_path_factory.mktemp("primary"))
    server = Postgres(folder, fsync=False)
    try:
        server.start()
        yield server
    finally:
        server.destroy()


@contextmanager
def read_only(primary: Postgres) -> Iterator[None]:
    """Make the database what an old primary is after a failover."""
    alter(primary, "ALTER SYSTEM SET default_transaction_read_only = on")
    try:
        yield
    finally:
        alter(primary, "ALTER SYSTEM RESET default_transaction_read_only")


def alter(primary: Postgres, statement: str) -> None:
    with psycopg.connect(primary.url(), autocommit=True) as connection:
        connection.execute(statement)
        connection.execute("SELECT pg_reload_conf()")


class Server:
    """A server process and a client of it."""

    def __init__(self, address: str, http: str, database_url: str) -> None:
        self.database_url = database_url
        self.address = address
        self.http = http

    def register(self, timeout: float = 5.0) -> None:
        """Register a plan, once."""
        with self.client() as client:
            client.plans.RegisterPlan(pb.NewComputePlan(key=str(uuid.uuid4()), name="plan"), timeout=timeout)

    def client(self) -> Client:
        return Client(self.address, ORGANIZATION, CHANNEL)

    def ready(self) -> int:
        return httpx.get(f"http://{self.http}/ready", timeout=4, verify=False).status_code

    def healthy(self) -> "health_pb2.HealthCheckResponse.ServingStatus.ValueType":
        with grpc.insecure_channel(self.address) as transport:
            return health_pb2_grpc.HealthStub(transport).Check(health_pb2.HealthCheckRequest(), timeout=5).status

    def works(self) -> bool:
        try:
            self.register()
        except CallError as error:
            if error.status not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise
            return False
        return True


@contextmanager
def served(folder: Path, url: str) -> Iterator[Server]:
    folder.mkdir()
    http = f"{HOST}:{free_port()}"
    with serving(folder, url, CHANNELS, {"ORCHESTRATOR_HTTP_ADDRESS": http}) as address:
        server = Server(address, http, url)
        with server.client() as client:
            client.organizations.RegisterOrganization(pb.RegisterOrganizationParam())
        yield server


def fresh(primary: Postgres) -> str:
    return primary.create_database(f"attacked_{uuid.uuid4().hex}")


@pytest.fixture(scope="module")
def server(primary: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("served") / "server", fresh(primary)) as server:
        yield server


def test_a_read_only_database_is_unavailable_and_the_server_not_ready(primary, server):
    server.register()
    with read_only(primary):
        # `works` fails on any refusal but UNAVAILABLE.
        wait_until(lambda: not server.works(), 60, "a refusal")
        wait_until(lambda: server.ready() == 503, 60, "the server to say that it is not ready")
        wait_until(lambda: server.healthy() == health_pb2.HealthCheckResponse.NOT_SERVING, 60, "its health")
    wait_until(lambda: server.works() and server.ready() == 200, BACK_SECONDS, "the server to work again")
    wait_until(lambda: server.healthy() == health_pb2.HealthCheckResponse.SERVING, 60, "its health")


def test_after_a_failover_the_new_primary_is_used_at_once(primary, server):
    """The connections to the old one are given up, though they answer."""
    with psycopg.connect(server.database_url, autocommit=True) as observer:
        before = sessions(observer)
        with read_only(primary):
            wait_until(lambda: not server.works(), 60, "a refusal")
            for _ in range(5):
                assert not server.works()
        wait_until(server.works, BACK_SECONDS, "the server to work again")
        (now,) = observer.execute("SELECT clock_timestamp()").fetchone() or (None,)
        for _ in range(5):
            server.register()
        # What is left of those that stood before listens, or is not used any more.
        assert not before & sessions(observer, now)


def sessions(observer: "psycopg.Connection[tuple[object, ...]]", since: object = "-infinity") -> set[object]:
    """Return the sessions that were asked something since a moment."""
    query = """
        SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND query_start >= %s
    """
    return {pid for (pid,) in observer.execute(query, [since])}


@pytest.fixture(scope="module")
def proxy(primary: Postgres) -> Iterator[Proxy]:
    with Proxy(primary.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def far(primary: Postgres, proxy: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose database lies behind a network."""
    url = fresh(primary).replace(f":{primary.port}/", f":{proxy.port}/")
    with served(tmp_path_factory.mktemp("far") / "server", url) as server:
        yield server


def test_a_database_that_hangs_makes_the_server_not_ready_in_seconds(far, proxy):
    far.register()
    proxy.cut()
    began = time.monotonic()
    assert far.ready() == 503
    assert time.monotonic() - began < 5
    wait_until(lambda: far.healthy() == health_pb2.HealthCheckResponse.NOT_SERVING, 60, "its health")
    proxy.mend()
    wait_until(lambda: far.works() and far.ready() == 200, BACK_SECONDS, "the server to work again")


def test_connections_that_are_cut_silently_are_left_and_made_again(far, proxy):
    with ThreadPoolExecutor(16) as threads:
        # As many connections as the pool has.
        list(threads.map(lambda _: far.register(20), range(64)))
        proxy.lose()
        began = time.monotonic()
        list(threads.map(lambda _: wait_until(far.works, BACK_SECONDS), range(16)))
    assert time.monotonic() - began < BACK_SECONDS
    wait_until(lambda: far.ready() == 200, 60, "the server to say so")


def test_the_server_ends_when_it_is_told_to_though_its_database_is_silent(primary, tmp_path):
    with Proxy(primary.port) as proxy:
        url = fresh(primary).replace(f":{primary.port}/", f":{proxy.port}/")
        with served(tmp_path / "server", url) as server, server.client() as client:
            server.register()
            proxy.lose()
            proxy.cut()
            calls = [client.organizations.GetAllOrganizations.future(pb.GetAllOrganizationsParam()) for _ in range(8)]
            began = time.monotonic()
        assert time.monotonic() - began < 12
        for call in calls:
            call.cancel()


FORMS: dict[str, Callable[[str, int], str]] = {
    "several hosts": lambda url, port: (
        url.replace(f"{HOST}:{port}", f"{HOST}:{free_port()},{HOST}:{port}") + "?target_session_attrs=read-write"
    ),
    "our parameters": lambda url, port: url + "?connect_timeout=3&keepalives_idle=30&tcp_user_timeout=0",
    "other scheme": lambda url, port: url.replace("postgresql://", "postgres://"),
    "everything in the query": lambda url, port: url.replace(f"@{HOST}:{port}/", "@/") + f"?host={HOST}&port={port}",
}


@pytest.fixture(scope="module")
def url(primary: Postgres) -> str:
    """Of a database that each test connects to by another form; the first makes its tables."""
    return fresh(primary)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_url_that_libpq_takes(primary, url, form):
    connects(FORMS[form](url, primary.port))


def test_a_service_names_the_database(url, tmp_path, monkeypatch):
    parts = psycopg.conninfo.conninfo_to_dict(url)
    lines = "\n".join(f"{name}={value}" for name, value in parts.items())
    (tmp_path / "services").write_text(f"[orchestrator]\n{lines}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    connects("postgresql:///?service=orchestrator")


def connects(url: str) -> None:
    """Connect to a database in every way that our processes do."""

    async def listen() -> None:
        async with await connecting.connect_async(url) as connection:
            await connection.execute("LISTEN something")

    migrations.upgrade(url)
    assert migrations.state(url).serves
    asyncio.run(listen())
    with contextlib.closing(Database(url, pool_size=1)) as database:
        assert vitals.read(database).sweeps == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"connect_timeout": "5", "tcp_user_timeout": "8000", "keepalives": "1", "keepalives_idle": "5"}),
        ("?tcp_user_timeout=1234&connect_timeout=9", {"connect_timeout": "9", "tcp_user_timeout": "1234"}),
        ("?keepalives=0", {"keepalives": "0", "tcp_user_timeout": "8000"}),
    ],
)
def test_what_the_url_says_wins_over_the_defaults(primary, query, expected):
    with connecting.connect(primary.url() + query) as connection:
        assert expected.items() <= connection.info.get_parameters().items()


def test_a_training_that_ends_while_the_database_is_read_only_is_done_at_its_first_attempt(primary, server, tmp_path):
    world = World(tmp_path, Recorded(), server.address)
    with server.client() as client, world.agent(), connect(world.settings) as channels:
        function = world.function('time.sleep(2)\noutputs["model"].write_text("trained")\n')
        new = pb.NewFunction(
            key=function.key,
            name="trains",
            description=world.put(f"functions/{function.key}/description", b"# Trains"),
            archive=function.archive,
            new_permissions=pb.NewPermissions(public=True),
            outputs={"model": pb.FunctionOutput(kind=pb.ASSET_MODEL)},
        )
        client.functions.RegisterFunction(new)
        world.build(function.key)
        plan = client.plan("read-only")
        task = plan.task(function=client.function(function.key), worker=ORGANIZATION, outputs={"model": PUBLIC})
        plan.submit()
        claimed = threading.Event()
        asking = Asking(channels, Consent.of(world.settings))
        slot = Slot(world.settings)
        runs = threading.Thread(target=attempt.run, args=(world.settings, asking, slot, task.key, 1, claimed.set))
        runs.start()
        try:
            assert claimed.wait(30)
            with read_only(primary):
                wait_until(lambda: not server.works(), 60, "a refusal")
                # It ends meanwhile, and goes on telling so.
                wait_until(lambda: (world.store / "models").exists() and any((world.store / "models").iterdir()), 30)
                runs.join(4)
                assert runs.is_alive(), "it gave up"
                for _ in range(3):
                    assert not server.works()
        finally:
            runs.join(60)
        assert client.tasks.GetTask(pb.GetTaskParam(key=task.key)).status == pb.STATUS_DONE
        (model,) = client.models.GetComputeTaskOutputModels(
            pb.GetComputeTaskModelsParam(compute_task_key=task.key)
        ).models
        assert (world.store / model.address.storage_address.removeprefix(f"{STORE_URL}/")).read_text() == "trained"
        assert model.compute_task_key == task.key
