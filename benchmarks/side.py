"""One checkout of this repository under measurement: its code, started by its interpreter, on a database of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import grpc
import psutil
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.errors import BenchError
from benchmarks.load import Target
from orchestrator import protos as pb
from orchestrator.embedded.certificates import Layout
from orchestrator.embedded.ports import HOST, free_port
from orchestrator.embedded.processes import Process
from orchestrator.embedded.readiness import listens, serves_https

ROOT = Path(__file__).parents[1]

CHANNEL, REPLAYED = "bench", "replayed"
"""The channel of all rows but those that read all events of a channel."""

CALLERS = tuple(f"org-{number}" for number in range(1, 11))
"""Organizations whose calls the load generator makes, and which have no worker."""

LEAD = "lead"
"""An organization with an asset store, whose tasks the bench itself runs."""

SITES = ("site-1", "site-2", "site-3")
"""Organizations with a worker and an asset store."""

ORGANIZATIONS = (*CALLERS, LEAD, *SITES)
SLOTS = 2
"""Tasks that a site's worker runs at once."""

_INHERITED = ("PATH", "HOME", "TZ", "LANG", "LC_ALL")
_START_SECONDS = 60.0
_CALL_SECONDS = 300.0


@dataclass(frozen=True)
class Checkout:
    """A working tree of this repository.

    Args:
        name: of the side, for the table.
        path: its folder.
        processes: of its server; an older one has one, whatever it is told.
    """

    name: str
    path: Path
    processes: int = 1

    @cached_property
    def interpreter(self) -> str:
        """Its own virtual environment's Python, else ours."""
        own = self.path / ".venv" / "bin" / "python"
        return str(own) if own.exists() else sys.executable

    @cached_property
    def environment(self) -> dict[str, str]:
        """What each of its processes gets besides its settings."""
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        # First in its path, before any installed copy.
        return {**inherited, "PYTHONPATH": str(self.path)}

    def check(self) -> None:
        """Check that its interpreter runs its code.

        Raises:
            BenchError: it does not.
        """
        asked = self._ask("-c", "import orchestrator; print(orchestrator.__file__)")
        if asked.returncode or not Path(asked.stdout.strip()).is_relative_to(self.path):
            answer = (asked.stdout + asked.stderr).strip()
            raise BenchError(f"{self.interpreter} does not run the code in {self.path}; run `make dev` there: {answer}")

    def serves(self, what: str) -> bool:
        """Whether its server knows a product, `executions` or `problems`, or a method of gRPC, by its name."""
        if (self.path / "orchestrator" / "gateway" / what).is_dir():
            return True
        contract = (self.path / "orchestrator" / "protos").glob("*.proto")
        return any(f"rpc {what}(" in service.read_text() for service in contract)

    @cached_property
    def executor(self) -> str:
        """How its workers run functions: isolated where the machine can and the checkout knows how."""
        # A checkout may be older than the folders of workers/.
        known = ("workers.executors.sandbox", "workers.sandbox")
        return "sandbox" if any(not self._ask("-m", module).returncode for module in known) else "subprocess"

    def _ask(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [self.interpreter, "-P", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )

    @cached_property
    def revision(self) -> str:
        """Its commit, with a `+` where files differ from it."""
        described = subprocess.run(
            ["git", "-C", str(self.path), "describe", "--always", "--dirty=+"],
            capture_output=True,
            text=True,
            check=False,
        )
        return described.stdout.strip() or "unknown"


class Side:
    """The processes of one checkout. At most one server runs at a time, plain or with mutual TLS.

    Args:
        checkout: whose code.
        folder: for logs, work and stores.
        database_url: of an empty database.
        broker_url: of a database of the broker that no other side uses.
        certificates: of all organizations.
    """

    def __init__(
        self, checkout: Checkout, folder: Path, database_url: str, broker_url: str, certificates: Layout
    ) -> None:
        self.name = checkout.name
        self.checkout = checkout
        self.database_url = database_url
        self.broker_url = broker_url
        self.kept: dict[Any, Any] = {}
        self._folder = folder
        self._certificates = certificates
        self._tls = False
        self._processes = checkout.processes
        self._server: Process | None = None
        self._workers: list[Process] = []
        self._connections: dict[Target, grpc.Channel] = {}
        self._store_ports = {name: free_port() for name in (LEAD, *SITES)}
        folder.mkdir(parents=True)
        (folder / "channels.yaml").write_text(
            yaml.safe_dump({"channels": {CHANNEL: list(ORGANIZATIONS), REPLAYED: list(ORGANIZATIONS)}})
        )

    def migrate(self) -> None:
        """Make the tables."""
        process = self._command("migrate", ["migrate"], {"DATABASE_URL": self.database_url})
        process.start()
        process.wait_end(_START_SECONDS)

    def ensure(self, *, tls: bool, workers: bool, processes: int | None = None) -> None:
        """Have the server run, in this way, and the workers or none.

        Args:
            tls: whether it speaks mutual TLS.
            workers: whether they run.
            processes: of the server; None for as many as its checkout is given.
        """
        wanted = tls, processes or self.checkout.processes
        if self._workers and not workers:
            self._stop_workers()
        if self._server is None or (self._tls, self._processes) != wanted:
            self._stop_server()
            self._start_server(*wanted)
        if workers and not self._workers:
            self._start_workers()

    def restart(self) -> None:
        """Have a fresh server, whose memory has seen nothing."""
        self._stop_server()
        self._start_server(self._tls, self._processes)

    def stop(self) -> None:
        """End all processes."""
        self._stop_workers()
        self._stop_server()

    def target(self, organization: str = CALLERS[0], channel: str = CHANNEL) -> Target:
        """Return the running server as a caller reaches it."""
        certificates = self._certificates.client(organization) if self._tls else None
        return Target(self._address, organization, channel, certificates)

    @property
    def tls(self) -> bool:
        """Whether the server speaks mutual TLS."""
        return self._tls

    @property
    def http(self) -> str:
        """The base of the addresses of executions, which the plain server serves."""
        return f"http://{self._http_address}"

    @property
    def problems(self) -> str:
        """The base of the addresses of problems, which the plain server serves."""
        return f"http://{self._problems_address}"

    def module(self, name: str, program: str, *words: str) -> Process:
        """Start a module script of the organization that runs problems, and return its process.

        Args:
            name: of the module.
            program: Python, as modules have it.
            words: its arguments.
        """
        process = Process(
            f"module {name}",
            [self.checkout.interpreter, "-c", program, *words],
            log=self._folder / "logs" / f"module-{name}.log",
            env={
                **self.checkout.environment,
                "ORCHESTRATOR_ADDRESS": self._address,
                "ORCHESTRATOR_ORGANIZATION": CALLERS[0],
                "ORCHESTRATOR_CHANNEL": CHANNEL,
                "ORCHESTRATOR_BROKER_URL": self.broker_url,
                "SUSTAINML_NODE_NAME": name,
            },
            cwd=self._folder,
            stop_signal=signal.SIGINT,
            stop_timeout=20.0,
        )
        process.start()
        return process

    @property
    def servers(self) -> list[psutil.Process]:
        """The processes of the server."""
        return tree(self._running)

    @property
    def workers(self) -> Mapping[str, list[psutil.Process]]:
        """The processes of each worker and asset store."""
        return {process.name: tree(process) for process in self._workers}

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the server's processes for a while, so that what is measured has the machine for itself."""
        processes = self.servers
        for process in processes:
            process.suspend()
        try:
            yield
        finally:
            for process in processes:
                process.resume()

    def send(self, method: str, request: Any, answer: type[Any], organization: str = "", channel: str = CHANNEL) -> Any:
        """Make one call, outside any measurement.

        Args:
            method: as in `/orchestrator.ComputeTaskService/GetTask`.
            request: the message.
            answer: the type of the answer.
            organization: who calls; the first of `CALLERS` by default.
            channel: in which.

        Raises:
            grpc.RpcError: it is refused.
        """
        target = self.target(organization or CALLERS[0], channel)
        if target not in self._connections:
            self._connections[target] = self._connect(target)
        call: Any = self._connections[target].unary_unary(method, response_deserializer=answer.FromString)
        return call(request.SerializeToString(), metadata=target.metadata, timeout=_CALL_SECONDS)

    def store(self, organization: str) -> Path:
        """Return the folder of an organization's assets."""
        return self._folder / "stores" / organization

    def store_url(self, organization: str) -> str:
        """Return the base of the addresses of an organization's assets."""
        return f"https://{HOST}:{self._store_ports[organization]}"

    def last_event(self, channel: str = CHANNEL) -> str:
        """Return the id of the newest event of a channel."""
        newest = pb.QueryEventsParam(sort=pb.DESCENDING, page_size=1)
        found = self.send("/orchestrator.EventService/QueryEvents", newest, pb.QueryEventsResponse, channel=channel)
        return str(found.events[0].id)

    @property
    def _running(self) -> Process:
        if self._server is None:
            raise BenchError(f"the server of {self.name} does not run")
        return self._server

    def _start_server(self, tls: bool, processes: int) -> None:
        port = free_port()
        self._processes = processes
        self._address, self._http_address, self._tls = f"{HOST}:{port}", f"{HOST}:{free_port()}", tls
        self._problems_address = f"{HOST}:{free_port()}"
        certificates = self._certificates.server
        secure = {
            "TLS_ENABLED": "true",
            "TLS_CERT_PATH": certificates.certificate,
            "TLS_KEY_PATH": certificates.key,
            "MTLS_ENABLED": "true",
            "TLS_CLIENT_CA_CERT_DIR": self._certificates.client_authorities,
            "VERIFY_CLIENT_MSP_ID": "true",
        }
        executions = {
            "API_IDENTITY": "open",
            "API_ORGANIZATION": CALLERS[0],
            "API_CHANNEL": CHANNEL,
            "MEDIA_ROOT": self._folder / "media",
        }
        problems = {
            "PROBLEMS_ADDRESS": self._problems_address,
            "PROBLEMS_ORGANIZATION": CALLERS[0],
            "PROBLEMS_CHANNEL": CHANNEL,
        }
        products: Mapping[str, Mapping[str, object]] = {"executions": executions, "problems": problems}
        served = {
            name: value
            for product, settings in products.items()
            if self.checkout.serves(product)
            for name, value in settings.items()
        }
        self._server = self._command(
            "serve",
            ["serve"],
            {
                "DATABASE_URL": self.database_url,
                "BROKER_URL": self.broker_url,
                "CHANNEL_CONFIG": self._folder / "channels.yaml",
                "GRPC_ADDRESS": self._address,
                "HTTP_ADDRESS": self._http_address,
                "PROCESSES": processes,
                **(secure if tls else served),
            },
        )
        self._server.start()
        self._server.wait_ready(lambda: listens(port) and self._serves(), _START_SECONDS)

    def _serves(self) -> bool:
        with self._connect(self.target()) as connection:
            try:
                check: Any = health_pb2_grpc.HealthStub(connection)
                asked = check.Check(health_pb2.HealthCheckRequest(), timeout=2.0)
            except grpc.RpcError:
                return False
        return bool(asked.status == health_pb2.HealthCheckResponse.SERVING)

    def _connect(self, target: Target) -> grpc.Channel:
        unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        if target.certificates is None:
            return grpc.insecure_channel(target.address, unlimited)
        return grpc.secure_channel(target.address, target.certificates.credentials(), unlimited)

    def _stop_server(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
        if self._server is not None:
            self._server.stop()
            self._server = None

    def _start_workers(self) -> None:
        for organization in (LEAD, *SITES):
            self.store(organization).mkdir(parents=True, exist_ok=True)
            certificates = self._certificates.store(organization)
            settings = {
                "STORE_ADDRESS": f"{HOST}:{self._store_ports[organization]}",
                "STORE_URL": self.store_url(organization),
                "STORE_CERT": certificates.certificate,
                "STORE_KEY": certificates.key,
                "TLS_CLIENT_CA_CERT_DIR": self._certificates.client_authorities,
            }
            self._start_worker("store", organization, settings)
        for organization in SITES:
            settings = {
                "BROKER_URL": self.broker_url,
                "PEER_CA_CERT": self._certificates.peer(organization).authority,
                "STORE_URL": self.store_url(organization),
                "WORK_DIR": self._folder / "work",
                "NODE": "node-1",
                "CONCURRENCY": SLOTS,
                "CONSENT_POLICY": self._consent(organization),
                "EXECUTOR": self.checkout.executor,
            }
            self._start_worker("worker", organization, settings)
        for process in self._workers:
            organization = process.name.partition(" ")[2]
            if process.name.startswith("store"):
                port, peer = self._store_ports[organization], self._certificates.peer(organization)
                process.wait_ready(partial(serves_https, port, peer), _START_SECONDS)

    def _consent(self, organization: str) -> Path:
        """Write a consent policy that admits all others; return its file."""
        others = [name for name in (LEAD, *SITES) if name != organization]
        policy = {"organizations": others, "stores": {name: self.store_url(name) for name in others}}
        file = self._folder / f"consent-{organization}.yaml"
        file.write_text(yaml.safe_dump(policy))
        return file

    def _start_worker(self, kind: str, organization: str, settings: Mapping[str, object]) -> None:
        certificates = self._certificates.client(organization)
        process = self._command(
            f"{kind} {organization}",
            [kind, "--org", organization],
            {
                "CHANNELS": CHANNEL,
                "ADDRESS": self._address,
                "CLIENT_CA_CERT": certificates.authority,
                "CLIENT_CERT": certificates.certificate,
                "CLIENT_KEY": certificates.key,
                "STORE_ROOT": self.store(organization),
                **settings,
            },
            stop_signal=signal.SIGKILL if kind == "worker" else signal.SIGTERM,
        )
        process.start()
        self._workers.append(process)

    def _stop_workers(self) -> None:
        for process in reversed(self._workers):
            process.stop()
        self._workers.clear()

    def _command(
        self,
        name: str,
        arguments: Sequence[str],
        settings: Mapping[str, object],
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> Process:
        return Process(
            name,
            [self.checkout.interpreter, "-P", "-m", "orchestrator", *arguments],
            log=self._folder / "logs" / f"{name.replace(' ', '-')}.log",
            env={
                **self.checkout.environment,
                **{f"ORCHESTRATOR_{key}": str(value) for key, value in settings.items()},
            },
            cwd=self._folder,
            stop_signal=stop_signal,
            stop_timeout=20.0,
        )


def tree(process: Process) -> list[psutil.Process]:
    """Return a process and all that it has started."""
    leader = psutil.Process(process.pid)
    return [leader, *leader.children(recursive=True)]
