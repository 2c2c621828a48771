"""A federation whose processes can be hurt, and the compute plans that must end right all the same."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from sqlalchemy import text

from orchestrator import protos as pb
from orchestrator.audit import stored
from orchestrator.audit.history import History
from orchestrator.client import PUBLIC, CallError, Client, Plan
from orchestrator.embedded import commands, readiness
from orchestrator.embedded.federation import Federation, remove_data
from orchestrator.embedded.ports import HOST, free_port
from orchestrator.embedded.postgres import Postgres
from orchestrator.embedded.processes import Process
from orchestrator.embedded.valkey import Valkey
from orchestrator.engine.transaction import Database
from orchestrator.trace import places
from tests.kit import runs
from tests.kit.disk import disk
from tests.kit.followed import Followed
from tests.kit.functions import packed
from tests.kit.network import Network
from tests.kit.processes import clean_environment
from tests.kit.proxy import Proxy
from tests.kit.temporary import passable
from tests.kit.waiting import wait_until

ORGANIZATIONS = ("org-a", "org-b", "org-c")
FULL = "org-c"
"""Whose asset store and working folders lie on a disk of their own, where a test may make one."""

LEASE_SECONDS = 3.0
# Everything that waits in production waits less here; and nothing fails for good that a monkey may have done.
SETTINGS = {
    "LEASE": f"{LEASE_SECONDS}s",
    "EXPIRED_LEASE_PERIOD": "500ms",
    "DUE_RETRY_PERIOD": "500ms",
    "LOST_POKE_PERIOD": "2s",
    "LOST_POKE_AGE": "2s",
    "UNACKNOWLEDGED_STOP_PERIOD": "1s",
    "STOP_AGE": "2s",
    "STUCK_TASK_PERIOD": "2s",
    "TRANSIENT_OUTPUT_PERIOD": "2s",
    "STALE_QUEUE_PERIOD": "2s",
    "QUEUE_RETENTION": "8s",
    "RETRY_BUILD_ATTEMPTS": 100,
    "RETRY_EXECUTION_ATTEMPTS": 100,
    "RETRY_INTERNAL_ATTEMPTS": 100,
    "RETRY_LOST_ATTEMPTS": 100,
    "RETRY_TIMEOUT_ATTEMPTS": 100,
    "RETRY_BACKOFF": "200ms",
    "RETRY_CAP": "1s",
}
WORKER_SETTINGS = {"CONCURRENCY": 2, "TASK_KILL_GRACE": 1, "TASK_TIME_LIMIT": 30, "DRAIN_SECONDS": 1}

ROOT = Path(__file__).parents[2]
NEXT = "tests.integration.upgrade.next_release"

_READY_SECONDS = 60.0
_READ = 1000


class Stage:
    """A federation of three organizations, with a function that takes no time and one that takes long.

    Args:
        folder: an empty one.
        settings: more of the server's and the beat's.
        keep: whether its data are there after the block.
        processes: of each server.
        servers: how many, behind one address.

    Attributes:
        servers: the names of all.
        disk: the small disk of one organization; None where it cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, object] | None = None,
        *,
        keep: bool = False,
        processes: int = 1,
        servers: int = 1,
    ) -> None:
        self.folder = folder
        self.said = folder / "said"
        self.disk = folder / "disk" if os.getuid() == 0 else None
        self._keep = keep
        self.processes = processes
        # What functions say of themselves is read outside of their sandbox.
        self._worker_settings = {**WORKER_SETTINGS, "SANDBOX_PATHS": f"{self.said}:rw"}
        self.federation = Federation(
            folder / "federation",
            ORGANIZATIONS,
            data=folder / "data",
            settings={**SETTINGS, "PROCESSES": processes, **(settings or {})},
            worker_settings=self._worker_settings,
            flower=False,
        )
        self.servers = ["serve", *(f"serve-{number}" for number in range(2, servers + 1))]
        self._settings = {**SETTINGS, "PROCESSES": processes, **(settings or {})}
        self._more: dict[str, Process] = {}
        self._address = ""
        self._held = contextlib.ExitStack()
        self._clients: dict[str, Client] = {}
        self._networks: dict[str, tuple[Proxy, Proxy]] = {}
        self._history, self._position, self._found = History(), 0, []

    def __enter__(self) -> "Stage":
        with contextlib.ExitStack() as held:
            self.said.mkdir(mode=0o700)
            passable(self.folder)
            self.federation.data.mkdir()
            passable(self.federation.data)
            if self.disk and not held.enter_context(disk(self.disk, self.federation.data, FULL)):
                self.disk = None
            if not self._keep:
                held.callback(remove_data, self.federation.data)
            held.enter_context(self.federation)
            self._address = self.federation.places.address
            if len(self.servers) > 1:
                held.enter_context(self._several())
            self.network = Network(self.federation)
            for name in ORGANIZATIONS:
                client = self._connect(name)
                self._clients[name] = held.enter_context(client)
                new = pb.RegisterOrganizationParam(address=self.federation.places.store_url(name))
                once(lambda client=client, new=new: client.organizations.RegisterOrganization(new))
            self.brief, self.long = self.function(0.05), self.function(60.0)
            self.frail = self.function(0.05, frail=True)
            self._held = held.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def client(self, name: str = ORGANIZATIONS[0]) -> Client:
        """Return the connection of an organization."""
        return self._clients[name]

    def _connect(self, name: str) -> Client:
        return Client(self._address, name, self.federation.channel, self.federation.certificates(name))

    @contextlib.contextmanager
    def _several(self) -> Iterator[None]:
        """Run more servers beside the first, and have everybody call one address that leads to all of them."""
        places = self.federation.places
        with contextlib.ExitStack() as held:
            ports = [places.grpc_port]
            for name in self.servers[1:]:
                own = replace(places, grpc_port=free_port(), http_port=free_port())
                self._more[name] = commands.serve(own, self._settings, name)
                held.callback(self._more[name].stop)
                self._more[name].start()
                ports.append(own.grpc_port)
            balancer = held.enter_context(Proxy(*ports))
            self._address = f"{HOST}:{balancer.port}"
            for name in (f"{kind}-{organization}" for kind in ("worker", "store") for organization in ORGANIZATIONS):
                process = self.service(name)
                process.stop()
                assert process.environment is not None
                process.environment["ORCHESTRATOR_ADDRESS"] = self._address
                process.start()
            yield

    def upgrade(self) -> None:
        """Bring in the release that is made up to come next, one server after the other, while all goes on."""
        self._migrate("--expand")
        for name in (*self.servers, "beat"):
            process = self.service(name)
            process.stop()
            process.argv = [NEXT if word == "orchestrator" else word for word in process.argv]
            assert process.environment is not None
            process.environment["PYTHONPATH"] = str(ROOT)
            process.start()
            self.restore()
        self._migrate("--contract")

    def _migrate(self, half: str) -> None:
        migration = subprocess.run(
            [sys.executable, "-m", NEXT, "migrate", half],
            env=clean_environment({"ORCHESTRATOR_DATABASE_URL": self.federation.places.database_url}),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert migration.returncode == 0, migration.stderr

    def function(self, seconds: float, frail: bool = False, code: str = "") -> pb.Function:
        """Return a function that everybody may run, once it was built, or could not be.

        Args:
            seconds: how long it takes.
            frail: whether it fails at the first attempt of a task.
            code: what it does before that.
        """
        owner, key = ORGANIZATIONS[0], str(uuid.uuid4())
        source = runs.source(self.said, seconds, frail, code)
        archive = packed({"Dockerfile": runs.DOCKERFILE, "function.py": source})
        new = pb.NewFunction(
            key=key,
            name=f"takes {seconds:g} s",
            description=self.network.put(owner, f"functions/{key}/description", b"# A function"),
            archive=self.network.put(owner, f"functions/{key}/archive", archive),
            new_permissions=pb.NewPermissions(public=True),
            inputs={"models": pb.FunctionInput(kind=pb.ASSET_MODEL, multiple=True, optional=True)},
            outputs={"model": pb.FunctionOutput(kind=pb.ASSET_MODEL)},
        )
        once(lambda: self.client(owner).functions.RegisterFunction(new))
        return self.network.built(new_function(self.client(owner), key))

    def plan(
        self, rounds: int, width: int = 1, function: pb.Function | None = None, extended: bool = False
    ) -> Followed:
        """Submit a plan: rounds of tasks side by side at every organization, joined after each round.

        Args:
            rounds: how many.
            width: tasks of one round at one organization.
            function: what the tasks run; the brief one by default.
            extended: whether the last round is added once the others are there.
        """
        function = function or self.brief
        plan = self.client().plan("hurt")
        shared: list[object] = []
        for number in range(rounds):
            if extended and number == rounds - 1:
                self.submit(plan)
            tasks = [
                plan.task(function=function, worker=name, inputs={"models": shared}, outputs={"model": PUBLIC})
                for name in ORGANIZATIONS
                for _ in range(width)
            ]
            joint = ORGANIZATIONS[number % len(ORGANIZATIONS)]
            shared = [plan.task(function=function, worker=joint, inputs={"models": tasks}, outputs={"model": PUBLIC})]
        self.submit(plan)
        return Followed(self, plan)

    def submit(self, plan: Plan[None]) -> None:
        """Submit a plan, also to a server that does not answer just now."""
        insist(plan.submit)

    def service(self, name: str) -> Process:
        """Return a process of the federation."""
        service = self._more.get(name) or self.federation.service(name)
        return service.process if isinstance(service, Postgres | Valkey) else service

    def second_beat(self) -> Process:
        """Return another beat of the release that runs, to be started and stopped."""
        second = commands.beat(self.federation.places, SETTINGS)
        first = self.service("beat")
        second.argv, second.environment = first.argv, first.environment
        return second

    def start(self, name: str) -> None:
        """Start a process of the federation, unless it runs."""
        if not self.service(name).alive:
            (self._more.get(name) or self.federation.service(name)).start()

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a process a signal that ends it, and wait for its end; what it started may live on."""
        pid = self.service(name).pid
        os.kill(pid, number)
        # Without burying it: that would end its whole group.
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    def revive(self) -> None:
        """Start what does not run, as whoever keeps services does: a server that met no database has ended."""
        for name in ("valkey", "postgres", *self.servers, "beat", *map("worker-{}".format, ORGANIZATIONS)):
            self.start(name)
        for name in map("store-{}".format, ORGANIZATIONS):
            self.start(name)

    def restore(self) -> None:
        """Start what does not run, and return when all answers."""
        self.revive()
        first = ORGANIZATIONS[0]
        certificates = self.federation.certificates(first)
        for name in self.servers:
            server = self.service(name)
            assert server.environment is not None
            port = int(server.environment["ORCHESTRATOR_GRPC_ADDRESS"].rpartition(":")[2])
            server.wait_ready(
                partial(readiness.serves_grpc, port, first, self.federation.channel, certificates), _READY_SECONDS
            )

    def through(self, organization: str) -> tuple[Proxy, Proxy]:
        """Have an organization's worker reach the server and the broker through networks that can be cut."""
        if organization in self._networks:
            return self._networks[organization]
        server = self._held.enter_context(Proxy(int(self._address.rpartition(":")[2])))
        broker_port = self.service_port("valkey")
        broker = self._held.enter_context(Proxy(broker_port))
        worker = self.service(f"worker-{organization}")
        worker.stop()
        assert worker.environment is not None
        url = worker.environment["ORCHESTRATOR_BROKER_URL"].replace(f":{broker_port}", f":{broker.port}")
        worker.environment |= {"ORCHESTRATOR_ADDRESS": f"{HOST}:{server.port}", "ORCHESTRATOR_BROKER_URL": url}
        worker.start()
        self._networks[organization] = server, broker
        return server, broker

    @contextlib.contextmanager
    def second_nodes(self) -> Iterator[None]:
        """Run another worker of each organization, which takes its pokes too; the block begins when all were heard."""
        places, name = self.federation.places, "node-2"
        with contextlib.ExitStack() as started:
            for organization in ORGANIZATIONS:
                worker = commands.worker(places, organization, self._worker_settings, name)
                started.callback(worker.stop)
                worker.start()
            for organization in ORGANIZATIONS:
                wait_until(partial(self._heard, name, organization), _READY_SECONDS, f"{name} of {organization}")
            yield

    def _heard(self, node: str, organization: str) -> bool:
        """Say whether a node of an organization was heard in the last lease."""
        listed = self.client().worker.GetNodes(pb.GetNodesParam()).nodes
        least = datetime.now(UTC) - timedelta(seconds=LEASE_SECONDS)
        return any(
            (each.name, each.organization) == (node, organization) and each.last_heartbeat.ToDatetime(UTC) > least
            for each in listed
        )

    def service_port(self, name: str) -> int:
        """Return where the database or the broker listens."""
        service = self.federation.service(name)
        assert isinstance(service, Postgres | Valkey)
        return service.port

    def database(self) -> contextlib.AbstractContextManager[Database]:
        """Return the database, for looking into it."""
        return contextlib.closing(Database(self.federation.places.database_url, pool_size=1))

    def violations(self) -> list[runs.Broken]:
        """Return what the trace and the rows say that must not be."""
        channel = self.federation.channel
        with self.database() as database:
            wait_until(lambda: _unplaced(database) == 0, 60, "all events to have a place")
            with database.engine.connect() as connection:
                while placed := places.read_after(connection, self._position, _READ, [channel]):
                    for event in filter(lambda event: event.message, placed):
                        self._found += self._history.see(pb.Event.FromString(event.message))
                    self._position = placed[-1].position
            self._found += self._history.end()
            found = [*self._found, *stored.check(database, channel, timedelta(days=7))]
        return [runs.Broken(runs.Kind.TRACE, f"{each.rule}: {each.asset_key}: {each.words}") for each in found]


def once(call: Callable[[], object]) -> None:
    """Make a call that must happen once, also when its answer gets lost: what is there already is ours."""
    try:
        insist(call)
    except CallError as error:
        if error.oe_code != "OE0006":
            raise


def insist(call: Callable[[], object], seconds: float = 60.0) -> None:
    """Make a call that may be repeated, until it is answered."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            call()
            return
        except CallError as error:
            if not error.lost or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def new_function(client: Client, key: str) -> pb.Function:
    """Return a function as it is now."""
    return client.functions.GetFunction(pb.GetFunctionParam(key=key))


def _unplaced(database: Database) -> int:
    with database.engine.connect() as connection:
        return int(connection.execute(text("SELECT count(*) FROM unplaced")).scalar_one())
