"""What all sides of a run share: Postgres, the broker, certificates, the load generator, and the yardsticks."""

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

import psycopg
import yaml

from benchmarks import bare
from benchmarks.load import Target
from benchmarks.side import CHANNEL, ORGANIZATIONS, ROOT, SITES, SLOTS, Checkout, Side, tree
from benchmarks.sizes import Sizes
from orchestrator.embedded.certificates import lay_out
from orchestrator.embedded.ports import HOST, free_port
from orchestrator.embedded.postgres import Postgres
from orchestrator.embedded.processes import Process, Supervisor
from orchestrator.embedded.readiness import listens
from orchestrator.embedded.valkey import Valkey
from workers.executors.launcher.kernel import die_with_parent

Result = TypeVar("Result")
Given = ParamSpec("Given")

LOG_PREFIX = "@@%d@@%p@@"
"""What each entry of Postgres' log begins with: database and process."""

_START_SECONDS = 60.0
_BARE_DATABASE = 15
_OURS = Checkout("yardsticks", ROOT)


class Stage:
    """Everything that a run needs, as child processes on a folder of its own; a context manager.

    Args:
        folder: for all data.
        sizes: how much is measured.
        checkouts: the sides; the first is the one in question.
    """

    def __init__(self, folder: Path, sizes: Sizes, checkouts: Sequence[Checkout]) -> None:
        self.sizes = sizes
        self.postgres_log = folder / "postgres" / "postgres.log"
        self._folder = folder
        self._checkouts = checkouts
        self._held = ExitStack()
        self._supervisor = Supervisor()
        # Durable, as everywhere but in tests; the rest of its settings are Postgres' own.
        self.postgres = Postgres(folder / "postgres", settings={"log_line_prefix": LOG_PREFIX})
        self.valkey = Valkey(folder / "valkey")
        self.sides: list[Side] = []
        self._echoes: dict[bool, Process] = {}
        self._echo_addresses: dict[bool, str] = {}
        self._bare: Process | None = None
        self._known: dict[Any, Any] = {}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._held.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def _start(self) -> None:
        self._held.callback(self.postgres.destroy)
        self._held.enter_context(self._supervisor)
        self._certificates = lay_out(self._folder / "certificates", ORGANIZATIONS)
        self._supervisor.start(self.postgres, self.valkey)
        bare.configure(self._broker_url(_BARE_DATABASE))
        # Spawned, since gRPC's threads do not survive a fork; each dies with us.
        context = multiprocessing.get_context("spawn")
        self._load = self._held.enter_context(ProcessPoolExecutor(1, context, die_with_parent))
        self._watcher = self._held.enter_context(ProcessPoolExecutor(1, context, die_with_parent))
        for number, checkout in enumerate(self._checkouts):
            checkout.check()
            side = Side(
                checkout,
                self._folder / checkout.name,
                self.postgres.create_database(f"side_{number}"),
                self._broker_url(number),
                self._certificates,
            )
            side.migrate()
            self._held.callback(side.stop)
            self.sides.append(side)

    def run(self, task: Callable[Given, Result], *arguments: Given.args, **keywords: Given.kwargs) -> Result:
        """Have the load generator's process do something, and wait for it."""
        return self._load.submit(task, *arguments, **keywords).result()

    def beside(self, task: Callable[Given, Result], *arguments: Given.args, **keywords: Given.kwargs) -> Any:
        """Have another process do something meanwhile; return its future."""
        return self._watcher.submit(task, *arguments, **keywords)

    def connect(self, side: Side) -> "psycopg.Connection[Any]":
        """Open a connection to a side's database; each statement commits."""
        return psycopg.connect(side.database_url, autocommit=True)

    def once(self, key: Any, find: Callable[[], Result]) -> Result:
        """Return what was found under a key since the last `forget`, or find it now."""
        if key not in self._known:
            self._known[key] = find()
        found: Result = self._known[key]
        return found

    def forget(self) -> None:
        """Have the yardsticks measured anew."""
        self._known.clear()

    def echo(self, tls: bool) -> tuple[Target, Process]:
        """Return the echo server, plain or with mutual TLS, and its process; it is started when first asked for."""
        if tls not in self._echoes:
            self._start_echo(tls)
        certificates = self._certificates.client(ORGANIZATIONS[0]) if tls else None
        return Target(self._echo_addresses[tls], ORGANIZATIONS[0], CHANNEL, certificates), self._echoes[tls]

    @contextmanager
    def bare_celery(self) -> Iterator[None]:
        """Have bare Celery workers on the broker meanwhile, with as many slots as all sites together."""
        if self._bare is None:
            self._bare = self._start_bare()
        processes = tree(self._bare)
        for process in processes:
            process.resume()
        try:
            yield
        finally:
            # They are needed again in the next round; until then they do not take a cycle.
            for process in processes:
                process.suspend()

    def _start_bare(self) -> Process:
        arguments = f"--concurrency {SLOTS * len(SITES)} --without-gossip --without-mingle --loglevel WARNING"
        process = Process(
            "bare celery",
            [sys.executable, "-P", "-m", "celery", "--app", "benchmarks.bare:app", "worker", *arguments.split()],
            log=self._folder / "logs" / "bare.log",
            env={**_OURS.environment, "BENCH_BROKER_URL": self._broker_url(_BARE_DATABASE)},
            cwd=self._folder,
            # In good order, a Celery worker takes seconds to end.
            stop_signal=signal.SIGKILL,
        )
        self._supervisor.start(process)
        process.wait_ready(lambda: bare.app.control.ping(timeout=0.5), _START_SECONDS)
        return process

    def _broker_url(self, database: int) -> str:
        return f"{self.valkey.url.removesuffix('/0')}/{database}"

    def _start_echo(self, tls: bool) -> None:
        port = free_port()
        channels = self._folder / "channels.yaml"
        channels.write_text(yaml.safe_dump({"channels": {CHANNEL: list(ORGANIZATIONS)}}))
        server = self._certificates.server
        settings: dict[str, object] = {
            "DATABASE_URL": "postgresql://unused",
            "CHANNEL_CONFIG": channels,
            "GRPC_ADDRESS": f"{HOST}:{port}",
        }
        if tls:
            settings |= {
                "TLS_ENABLED": "true",
                "TLS_CERT_PATH": server.certificate,
                "TLS_KEY_PATH": server.key,
                "MTLS_ENABLED": "true",
                "TLS_CLIENT_CA_CERT_DIR": self._certificates.client_authorities,
                "VERIFY_CLIENT_MSP_ID": "true",
            }
        process = Process(
            f"echo {'tls' if tls else 'plain'}",
            [sys.executable, "-P", "-m", "benchmarks.echo"],
            log=self._folder / "logs" / "echo.log",
            env={
                **_OURS.environment,
                **{f"ORCHESTRATOR_{key}": str(value) for key, value in settings.items()},
            },
            cwd=self._folder,
        )
        self._supervisor.start(process)
        process.wait_ready(lambda: listens(port), _START_SECONDS)
        self._echoes[tls], self._echo_addresses[tls] = process, f"{HOST}:{port}"
