"""A whole federation on one machine: every server that a network has, as child processes of this one."""

import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

import yaml

from orchestrator.broker.credentials import make as make_credentials
from orchestrator.broker.credentials import read as read_credentials
from orchestrator.broker.provision import provision
from orchestrator.client import Certificates, Client
from orchestrator.embedded import commands, executions, readiness
from orchestrator.embedded.certificates import lay_out
from orchestrator.embedded.commands import NODE, Places
from orchestrator.embedded.interruption import Interrupted, shielded
from orchestrator.embedded.kept_ports import KeptPorts
from orchestrator.embedded.lock import locked
from orchestrator.embedded.ports import HOST
from orchestrator.embedded.postgres import Postgres
from orchestrator.embedded.problems import Served
from orchestrator.embedded.processes import Process, ProcessError, Service, Supervisor
from orchestrator.embedded.reaper import Reaper
from orchestrator.embedded.revival import Revival
from orchestrator.embedded.running import FILE, Running, start_time
from orchestrator.embedded.valkey import Valkey
from orchestrator.files import whole
from orchestrator.removal import remove

CHANNEL = "federation"

_OURS = (
    "# All members are admitted. Written at each start, as long as this line is here; without it the file is yours.\n"
)

_START_SECONDS = 60.0
_CHECK_SECONDS = 0.5


class Federation:
    """Postgres, broker, orchestrator, beat, Flower, and a worker and an asset store for each organization.

    A context manager of the main thread: all is ready when the block begins, and all has ended when it is over,
    or when this process is killed. Other commands find it through its folder, see `running`.

    Args:
        folder: one federation at a time uses it; made if missing.
        organizations: who takes part; their names are folder names.
        channel: the consortium.
        data: folder for everything that is kept; `folder` by default. What is there is used again.
        settings: more settings of the server and the beat, without their prefix, as in LEASE.
        worker_settings: more settings of every worker, without their prefix, as in TASK_TIME_LIMIT.
        flower: whether Flower is among them; nothing needs it but people.
        executions: the organization that runs executions of stored schemas, and whose worker is their central node; the
            others are data partners. Their API, a runtime and a light Kafka are there then. None serves none.
        problems: the problems that are served; None serves none. Modules are started by whoever has them.
        runtime_settings: of the runtime of executions, without their prefix: where Argo is, and Kafka in place of the
            light one.
        port: first of a range for its servers: gRPC, HTTP, Flower, then the asset stores in the order of the
            organizations; by default those of the last time, or any.
        prepare: called with the folder of its data before anything is started.
        tell: called with a few words before each step of the start, and where it is interrupted.
    """

    def __init__(
        self,
        folder: Path,
        organizations: Sequence[str],
        channel: str = CHANNEL,
        *,
        data: Path | None = None,
        settings: Mapping[str, object] | None = None,
        worker_settings: Mapping[str, object] | None = None,
        flower: bool = True,
        executions: str | None = None,
        problems: Served | None = None,
        runtime_settings: Mapping[str, str] | None = None,
        port: int | None = None,
        prepare: Callable[[Path], None] = lambda _: None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.folder = folder.absolute()
        self.data = (data or folder).absolute()
        self.organizations = tuple(organizations)
        self.channel = channel
        self._settings = settings or {}
        self._worker_settings = worker_settings or {}
        self._flower = flower
        self._executions = executions
        self._problems = problems
        self._runtime_settings = runtime_settings or {}
        self._port = port
        self._prepare = prepare
        self._tell = tell
        self._supervisor = Supervisor()
        self._reaper = Reaper()
        self._services: dict[str, Service] = {}
        self._held = ExitStack()
        self._places: Places | None = None
        self._running: Running | None = None

    @property
    def places(self) -> Places:
        """Where its parts are; known while it runs.

        Raises:
            ProcessError: it does not run.
        """
        if self._places is None:
            raise ProcessError("the federation does not run")
        return self._places

    @property
    def running(self) -> Running:
        """What other commands are told."""
        if self._running is None:
            raise ProcessError("the federation does not run")
        return self._running

    def certificates(self, organization: str) -> Certificates:
        """Return the files with which an organization calls the orchestrator."""
        return self.places.certificates.client(organization)

    def service(self, name: str) -> Service:
        """Return one of its parts, to end it or to start it again, as tests do.

        Args:
            name: `postgres`, `valkey`, `serve`, `beat`, `worker-<organization>`, `store-<organization>`, `flower`,
                `runtime`, or `kafka`.
        """
        return self._services[name]

    def check(self) -> None:
        """Do nothing if all its processes run.

        Raises:
            ProcessError: one ended on its own; with the last lines of its log.
        """
        self._supervisor.check()

    def stay(self) -> NoReturn:
        """Watch over its processes for ever: one that ends is started again, and that is told."""
        revival = Revival(self._services, self._tell, self._guard)
        while True:
            revival.look()
            time.sleep(_CHECK_SECONDS)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException as error:
            self._stop(error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop(error)

    def _stop(self, error: BaseException | None) -> None:
        with shielded():
            if isinstance(error, Interrupted):
                self._tell("Ending everything")
            self._places, self._running = None, None
            self._held.close()

    def _start(self) -> None:
        self._held.enter_context(locked(self.folder))
        (self.folder / FILE).unlink(missing_ok=True)  # of a federation that was killed
        self._held.enter_context(self._supervisor)
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._prepare(self.data)
        self._tell("Starting the database and the broker")
        certificates = lay_out(self.data / "certificates", self.organizations)
        self._supervisor.start(self._reaper)
        ports = KeptPorts(self.data / "ports.json", self._port, self._tell)
        valkey = Valkey(self.data / "valkey", port=ports.service(Valkey.name))
        postgres = Postgres(self.data / "postgres", port=ports.service(Postgres.name))
        self._supervisor.start(valkey)
        self._supervisor.start(postgres)
        self._services = {valkey.name: valkey, postgres.name: postgres}
        self._guard(valkey.process, postgres.process)
        broker_urls = self.data / "brokers.yaml"
        queues = [executions.queue(self._executions)] if self._executions else []
        queues += self._problems.queues if self._problems else []
        accounts = make_credentials(valkey.url, self.organizations, read_credentials(broker_urls), queues)
        with whole.about_to_write(broker_urls, accounts.dump().encode()):
            provision(valkey.url, accounts)
        self._places = places = Places(
            data=self.data,
            channel=self.channel,
            channel_config=self._write_channels(),
            certificates=certificates,
            database_url=postgres.create_database("orchestrator"),
            broker_url=valkey.url,
            broker=accounts,
            broker_urls=broker_urls,
            grpc_port=ports.service("grpc"),
            http_port=ports.service("http"),
            flower_port=ports.service("flower"),
            store_ports=ports.stores(self.organizations),
            kafka_port=ports.service(executions.KAFKA) if self._executions else 0,
        )
        ports.keep()
        self._write_policies(places)
        remove(places.temporary)
        places.temporary.mkdir(mode=0o700)
        credentials = f"demo:{secrets.token_urlsafe(16)}"
        self._start_commands(places, credentials)
        self._running = Running(
            pid=os.getpid(),
            started=start_time(os.getpid()) or 0.0,
            address=places.address,
            http_address=places.http_address,
            channel=self.channel,
            organizations=self.organizations,
            stores={organization: places.store_url(organization) for organization in self.organizations},
            certificate_folder=certificates.root,
            consent_folder=places.consent,
            flower=f"http://{credentials}@{HOST}:{places.flower_port}" if self._flower else "",
            logs=places.logs,
            broker_urls=places.broker_urls,
            problems={"organization": self._problems.organization, "address": self._problems.address}
            if self._problems
            else {},
        )
        self._held.callback((self.folder / FILE).unlink, missing_ok=True)
        self._running.write(self.folder)

    def _start_commands(self, places: Places, credentials: str) -> None:
        """Start what does not need the database's tables while they are made, then the server; await all."""
        more = [word for word, wanted in (("Flower", self._flower), ("a runtime", self._executions)) if wanted]
        own = f"its beat{''.join(f', {word}' for word in more[:-1])}{' and '.join(['', *more[-1:]])}"
        self._tell(f"Starting the orchestrator, {own}, and each organization's worker and asset store")
        served, besides = self._serve_executions(places)
        served = {**(self._problems.settings(places) if self._problems else {}), **served}
        migrate, serve = commands.migrate(places), commands.serve(places, served)
        beat = commands.beat(places, served)
        flowers = [commands.flower(places, credentials)] if self._flower else []
        settings = self._isolated(self._worker_settings)
        workers = {organization: commands.worker(places, organization, settings) for organization in self.organizations}
        stores = {organization: commands.store(places, organization) for organization in self.organizations}
        others = (*workers.values(), *stores.values(), beat, *flowers, *besides)
        self._services |= {process.name: process for process in (serve, *others)}
        try:
            migrate.start()
            self._supervisor.start(*others)
            self._guard(*others)
            migrate.wait_end(_START_SECONDS)
        finally:
            migrate.stop()
        self._supervisor.start(serve)
        self._guard(serve)
        first = self.organizations[0]
        certificates = self.certificates(first)
        serve.wait_ready(
            partial(readiness.serves_grpc, places.grpc_port, first, self.channel, certificates), _START_SECONDS
        )
        for organization, store in stores.items():
            peer = places.certificates.peer(organization)
            store.wait_ready(partial(readiness.serves_https, places.store_ports[organization], peer), _START_SECONDS)
        for kafka in (each for each in besides if each.name == executions.KAFKA):
            kafka.wait_ready(partial(readiness.listens, places.kafka_port), _START_SECONDS)
        for flower in flowers:
            flower.wait_ready(partial(readiness.shows_flower, places.flower_port, credentials), _START_SECONDS)
        with readiness.Nodes(places.broker_url, self.organizations) as nodes:
            for organization, worker in workers.items():
                worker.wait_ready(partial(nodes.answers, f"{organization}@{NODE}"), _START_SECONDS)
            beat.wait_ready(partial(nodes.answers, commands.MAINTENANCE_NODE), _START_SECONDS)
        with Client(places.address, first, self.channel, certificates) as client:
            # Else the first that somebody is told would be that nobody is there.
            for organization, worker in workers.items():
                worker.wait_ready(partial(readiness.is_heard, client, organization, NODE), _START_SECONDS)
        if flowers:
            # In a thread: nobody needs its answer, and it comes late.
            threading.Thread(
                target=readiness.inspect_workers, args=(places.flower_port, credentials), name="inspection", daemon=True
            ).start()

    def _serve_executions(self, places: Places) -> tuple[Mapping[str, object], Sequence[Process]]:
        """Return the settings of the server and the beat, and the processes that executions need: Kafka, a runtime."""
        if self._executions is None:
            return self._settings, ()
        executions.write_images(self.data, self.organizations)
        own = executions.settings(places, self._executions, self.organizations)
        runtime = executions.runtime(places, self._executions, self._runtime_settings)
        named = executions.BROKERS in self._runtime_settings
        kafka = [] if named else [executions.kafka(places, places.kafka_port)]
        return {**own, **self._settings}, (*kafka, runtime)

    def _isolated(self, settings: Mapping[str, object]) -> Mapping[str, object]:
        """Return the settings of workers that run functions as well isolated as can be had here."""
        if "EXECUTOR" in settings or (reason := commands.why_not_isolated()) is None:
            return settings
        self._tell(f"Functions are not isolated here, and run as your user, who trusts them: {reason}")
        return {**settings, "EXECUTOR": "subprocess"}

    def _guard(self, *processes: Process) -> None:
        for process in processes:
            self._reaper.watch(process.pid, process.grace)

    def _write_channels(self) -> Path:
        file = self.data / "channels.yaml"
        whole.write(file, yaml.safe_dump({"channels": {self.channel: list(self.organizations)}}).encode())
        return file

    def _write_policies(self, places: Places) -> None:
        """Write a consent policy for each organization that admits all; one that somebody has made theirs stays."""
        places.consent.mkdir(mode=0o700, exist_ok=True)
        for organization in self.organizations:
            others = [name for name in self.organizations if name != organization]
            file = commands.policy_of(places.consent, organization)
            policy = {"organizations": others, "stores": {name: places.store_url(name) for name in others}}
            if not file.exists() or file.read_bytes().startswith(_OURS.encode()):
                whole.write(file, _OURS.encode() + yaml.safe_dump(policy, sort_keys=False).encode())


def remove_data(data: Path) -> None:
    """Remove a federation's data, also what its Postgres keeps elsewhere; it must not run.

    Raises:
        OSError: something there cannot be removed.
    """
    with shielded():
        Postgres(data / "postgres").destroy()
        remove(data)
