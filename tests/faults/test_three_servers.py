"""Three servers on one database, behind one name: each is killed in turn, and the clients never notice.

It needs 127.0.0.2 and 127.0.0.3, which Linux has.
"""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import migrations
from orchestrator import protos as pb
from orchestrator.client import PUBLIC, Client, Event, Plan
from orchestrator.client.transport import options
from orchestrator.embedded.certificates import Layout, lay_out
from orchestrator.embedded.ports import free_port
from orchestrator.embedded.postgres import Postgres
from orchestrator.settings import ServerSettings
from tests.kit.messages import address as stored
from tests.kit.messages import new_function, new_key
from tests.kit.names import naming
from tests.kit.servers import serving, settings_for_tls
from tests.kit.siblings import Siblings
from tests.kit.waiting import wait_until

NAME = "orchestrator.test"
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
CHANNEL, ORGANIZATION = "channel", "org-1"
TASKS = 120
BETWEEN_SECONDS = 0.1
SOME = 4


class Servers:
    """Three servers of one database, on one port of three addresses.

    Args:
        folder: for their files.
        url: of the database.
        layout: the certificates.
    """

    def __init__(self, folder: Path, url: str, layout: Layout) -> None:
        self.port = free_port()
        self._folder, self._url, self._layout = folder, url, layout
        self.certificates = layout.client(ORGANIZATION)
        self._running: dict[str, contextlib.ExitStack] = {}

    def start(self, host: str) -> None:
        """Start one, and wait until it serves."""
        folder = self._folder / host
        folder.mkdir(exist_ok=True)
        credentials = self.certificates.credentials()
        stack = contextlib.ExitStack()
        settings = settings_for_tls(self._layout)
        address = f"{host}:{self.port}"
        stack.enter_context(
            serving(folder, self._url, {CHANNEL: [ORGANIZATION]}, settings, credentials, address, migrate=False)
        )
        self._running[host] = stack

    def kill(self, host: str) -> None:
        """Kill one."""
        Siblings(f"{host}:{self.port}").supervisor.kill()
        self._running.pop(host).close()

    def end(self) -> None:
        """End all."""
        for stack in self._running.values():
            stack.close()


@pytest.fixture
def servers(postgres: Postgres, tmp_path: Path) -> Iterator[Servers]:
    layout = lay_out(tmp_path / "certificates", [ORGANIZATION], [NAME, *HOSTS])
    url = postgres.create_database("three_servers")
    migrations.upgrade(url)
    servers = Servers(tmp_path, url, layout)
    try:
        for host in HOSTS:
            servers.start(host)
        yield servers
    finally:
        servers.end()


@pytest.fixture
def address(servers: Servers) -> Iterator[str]:
    with naming(NAME, HOSTS) as name_server:
        yield f"dns://{name_server}/{NAME}:{servers.port}"


class Beside(threading.Thread):
    """Work beside the test with a client of its own, again and again; what is raised is kept."""

    def __init__(self, client: Client, plan: Plan[None]) -> None:
        super().__init__()
        self.client, self.plan = client, plan
        self.done = self.allowed = 0
        self.faults: list[BaseException] = []
        self.over = threading.Event()

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:
            self.faults.append(error)

    def work(self) -> None:
        """What it does."""
        raise NotImplementedError

    def paused(self) -> bool:
        """Wait until more is asked for, a little at least; say whether it is over."""
        while not self.over.wait(BETWEEN_SECONDS):
            if self.done < self.allowed:
                return False
        return True

    def more(self) -> int:
        """Let it do more; return how much it has done when it has gone on."""
        self.allowed = self.done + 3 * SOME
        return self.done + SOME


def all_go_on(beside: list[Beside]) -> None:
    """Wait until all of them have done more; there is more to do then."""
    for each, target in [(each, each.more()) for each in beside]:
        wait_until(lambda each=each, target=target: each.done >= target or each.faults, 60, type(each).__name__)
        assert not each.faults


class Worker(Beside):
    """Runs the tasks of the plan one after the other, as a worker does: claims, and completes."""

    def work(self) -> None:
        for task in self.plan.tasks:
            if self.paused():
                return
            claimed = self.client.worker.ClaimTask(pb.ClaimTaskParam(compute_task_key=task.key, claim_id=new_key()))
            model = pb.NewModel(
                key=new_key(),
                compute_task_key=task.key,
                compute_task_output_identifier="model",
                address=stored(),
            )
            self.client.worker.CompleteTask(pb.CompleteTaskParam(attempt=claimed.attempt, models=[model]))
            self.done += 1


class Writer(Beside):
    """Registers functions and plans, each of which must be there once."""

    def work(self) -> None:
        self.keys: list[str] = []
        while not self.paused():
            function = self.client.register(new_function())
            plan = self.client.plan(f"written {self.done}")
            task = plan.task(function=function, worker=ORGANIZATION)
            self.client.submit(plan, bar=False)
            assert status(self.client, task.key) != pb.STATUS_UNKNOWN
            self.keys += [function.key, plan.key]
            self.done += 1


class Watcher(Beside):
    """Follows the plan."""

    def work(self) -> None:
        self.events: list[Event] = []
        for event in self.client.watch(self.plan):
            self.events.append(event)
            self.done += 1


def test_clients_of_three_servers_never_notice_that_they_are_killed_in_turn(servers: Servers, address: str):
    certificates = servers.certificates
    with contextlib.ExitStack() as held:

        def client() -> Client:
            return held.enter_context(Client(address, ORGANIZATION, CHANNEL, certificates))

        first = client()
        plan = long_plan(first)
        beside = [Worker(client(), plan), Writer(client(), plan), Watcher(client(), plan)]
        for each in beside:
            each.start()
        try:
            for host in HOSTS:
                all_go_on(beside)
                servers.kill(host)
                all_go_on(beside)
                if host != HOSTS[-1]:
                    servers.start(host)
        finally:
            for each in beside:
                each.over.set()
        worker, writer, watcher = beside
        worker.join(60)
        writer.join(60)
        first.cancel(plan)
        watcher.join(60)
        assert [each.faults for each in beside] == [[], [], []]
        heard = [event.id for event in watcher.events]
        assert heard == [event.id for event in first.watch(plan)], "each event of the plan once, in its order"
        done = [task for task in plan.tasks if status(first, task.key) == pb.STATUS_DONE]
        assert len(done) == worker.done
        assert len(set(writer.keys)) == 2 * writer.done


def long_plan(client: Client) -> Plan[None]:
    """Submit a plan whose tasks follow one another, more than are run here."""
    client.register(pb.RegisterOrganizationParam())
    function = client.register(new_function())
    for action in (pb.FUNCTION_ACTION_BUILDING, pb.FUNCTION_ACTION_READY):
        client.functions.ApplyFunctionAction(pb.ApplyFunctionActionParam(function_key=function.key, action=action))
    plan = client.plan("long")
    before: list[object] = []
    for _ in range(TASKS):
        before = [
            plan.task(function=function, worker=ORGANIZATION, inputs={"models": before}, outputs={"model": PUBLIC})
        ]
    client.submit(plan, bar=False)
    return plan


def status(client: Client, key: str) -> int:
    return client.tasks.GetTask(pb.GetTaskParam(key=key)).status


def test_servers_allow_the_pings_of_our_clients():
    pings = dict(options(False))["grpc.keepalive_time_ms"]
    assert pings >= 1000 * ServerSettings.model_fields["grpc_keepalive_policy_min_time"].default
