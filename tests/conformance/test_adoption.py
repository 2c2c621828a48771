"""A network that moves here from another server of the contract: what it had, and who followed its events."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import islice
from uuid import uuid4

import pytest

import migrations
from orchestrator import protos as pb
from orchestrator.adoption import adoption, batch, rows
from orchestrator.adoption.adoption import AdoptionError, Progress
from orchestrator.audit import stored
from orchestrator.client import Client
from orchestrator.embedded.postgres import Postgres
from orchestrator.engine.transaction import NOBODY, Database
from tests.kit import commands
from tests.kit.messages import (
    DATA_INPUTS,
    SCORE,
    by_key,
    new_function,
    new_performance,
    new_task,
    output,
    task_failure,
    tasks,
)
from tests.kit.organization import ORGANIZATIONS, Organization
from tests.kit.servers import serving
from tests.kit.transports import Direct, Wire, connect

SIZE = int(os.environ.get("ORCHESTRATOR_TEST_ADOPTED", "200"))
"""How many tasks a network has that clients go on writing to; 20000 takes minutes."""
_AT_ONCE = 2000


@pytest.fixture
def url(postgres: Postgres) -> str:
    """A database of ours in which nothing is yet."""
    url = postgres.create_database(f"adoption_{uuid4().hex}")
    migrations.upgrade(url)
    return url


@pytest.fixture
def here(url: str) -> Iterator[Database]:
    database = Database(url, pool_size=2)
    yield database
    database.close()


@pytest.fixture
def client(address: str, channel: str) -> Iterator[Client]:
    """The other server."""
    with Client(address, "org-1", channel) as client:
        yield client


@pytest.fixture
def doing(network: dict[str, Organization]) -> pb.ComputeTask:
    """A task that runs there, among assets of every kind in every state; its child waits for it."""
    org, other = network["org-1"], network["org-2"]
    manager = org.register_data_manager()
    sample = org.register_data_sample(manager)
    measured = org.register_function(inputs=DATA_INPUTS, outputs={"score": SCORE})
    function = org.register_function()
    for status in (pb.FUNCTION_STATUS_WAITING, pb.FUNCTION_STATUS_BUILDING, pb.FUNCTION_STATUS_CANCELED):
        org.register_function(status)
    plan = org.register_plan()
    org.send(pb.UpdateComputePlanParam(key=plan.key, name="renamed"))
    given = [by_key("opener", manager), by_key("samples", sample)]
    tested = org.register_task(measured, plan, worker="org-1", inputs=given)
    org.start(tested)
    org.send(new_performance(tested, performance_value=float("nan")))
    org.act(tested, pb.TASK_ACTION_DONE)
    first = org.register_task(function, plan, outputs={"model": output(transient=True)})
    second = org.register_task(function, plan, [first], worker="org-2")
    org.register_task(function, plan, [second])
    org.complete(first)
    org.start(org.register_task(function, plan))
    other.start(second)
    failing = org.register_plan()
    failed = org.register_task(function, failing)
    org.register_task(function, failing, [failed])
    org.start(failed)
    org.send(task_failure(failed))
    cancelled = org.register_plan()
    org.register_task(function, cancelled)
    org.start(org.register_task(function, cancelled))
    org.cancel_plan(cancelled)
    used = org.register_task(function, org.register_plan(), outputs={"model": output(transient=True)})
    user = org.register_task(function, used.compute_plan_key, [used])
    for task in (used, user):
        org.complete(task)
    org.send(pb.DisableOutputParam(compute_task_key=used.key, identifier="model"))
    org.send(pb.ProfilingStep(asset_key=function.key, step="build", duration=1_000_000))
    return second


def adopt(client: Client, url: str, *options: str, codes: tuple[int, ...] = (0,)) -> str:
    arguments = ("adopt", client.address, "--org", client.organization, "--channel", client.channel, *options)
    done = commands.run(*arguments, environment={"ORCHESTRATOR_DATABASE_URL": url})
    assert done.returncode in codes, done.stdout + done.stderr
    return done.stdout


def faults(database: Database, channel: str) -> list[str]:
    return [str(each) for each in stored.check(database, channel, poke_retention=timedelta(0))]


def test_a_network_goes_on_here_and_who_followed_its_events_hears_the_rest_once(
    client: Client, network: dict[str, Organization], doing: pb.ComputeTask, url: str, here: Database, tmp_path
):
    org, other = network["org-1"], network["org-2"]
    assert "differ" in adopt(client, url)
    # What it does meanwhile is caught up with.
    later = org.register_task(org.register_function(), org.register_plan())
    table = adopt(client, url, "--switch")
    assert [line.split()[-1] for line in table.splitlines()[1:9]] == ["0"] * 8, table
    assert "2 tasks" in table or "tasks and" in table
    assert not faults(here, client.channel)

    told = list(islice(org.subscribe(), len(org.events())))
    half = len(told) // 2
    with serving(tmp_path, url, {client.channel: ORGANIZATIONS}) as address, connect(address) as transport:
        new = Organization(Wire(transport), "org-1", client.channel)
        assert list(islice(new.subscribe(told[half].id), len(told) - half - 1)) == told[half + 1 :]
        assert new.task(later) == org.task(later)
        # It was running at the switch: its worker reports it here.
        at_other = new.beside("org-2")
        at_other.register_model(doing)
        at_other.act(doing, pb.TASK_ACTION_DONE)
        (child,) = (task for task in new.all(pb.QueryTasksParam()) if _parent(task) == doing.key)
        assert child.status == pb.STATUS_WAITING_FOR_EXECUTOR_SLOT
        heard = list(islice(new.subscribe(told[-1].id), 4))
        assert {event.asset_key for event in heard} >= {doing.key, child.key}
    assert other.status(doing) == "STATUS_EXECUTING"
    assert not faults(here, client.channel)


def _parent(task: pb.ComputeTask) -> str:
    return task.inputs[0].parent_task_output.parent_task_key if task.inputs else ""


@pytest.mark.timeout(120 + SIZE / 5)
def test_a_network_is_read_while_clients_write_to_it(
    client: Client, network: dict[str, Organization], url: str, here: Database, tmp_path
):
    org = network["org-1"]
    function = org.register_function()
    for first in range(0, SIZE, _AT_ONCE):
        plan = org.register_plan()
        org.send(tasks(*(new_task(function, plan) for _ in range(min(_AT_ONCE, SIZE - first)))))
    there, ended = len(org.events()), threading.Event()
    written: list[pb.ComputeTask] = []

    def write() -> None:
        while not ended.is_set():
            written.append(org.register_task(function, org.register_plan()))
            org.complete(written[-1])

    with ThreadPoolExecutor(1) as clients:
        writing = clients.submit(write)
        try:
            # 1: what came meanwhile differs, and it may be run again.
            adopt(client, url, codes=(0, 1))
            meanwhile = len(written)
        finally:
            ended.set()
        writing.result()
    assert meanwhile > 0
    table = adopt(client, url, "--switch")
    assert [line.split()[-1] for line in table.splitlines()[1:9]] == ["0"] * 8, table
    told = org.events()
    assert len(told) > there
    half = len(told) // 2
    with serving(tmp_path, url, {client.channel: ORGANIZATIONS}) as address, connect(address) as transport:
        new = Organization(Wire(transport), "org-1", client.channel)
        rest = islice(new.subscribe(told[half].id, timeout=60 + SIZE / 20), len(told) - half - 1)
        assert [event.id for event in rest] == [event.id for event in told[half + 1 :]]
        assert new.task(written[-1]) == org.task(written[-1])
    assert not faults(here, client.channel)


def test_it_is_interrupted_anywhere_and_goes_on(
    client: Client, doing: pb.ComputeTask, url: str, here: Database, monkeypatch
):
    monkeypatch.setattr(adoption, "_BATCH", 7)
    runs = 0
    complete = False
    while not complete:
        # Each is given up after its first step.
        complete = next(adoption.follow(client, here, Progress()))
        runs += 1
    assert runs > 5
    adopt(client, url)
    assert not [fault for fault in faults(here, client.channel) if "poked" not in fault]


def test_what_was_done_twice_is_asked_for_once(client: Client, doing: pb.ComputeTask, url: str, here: Database):
    adopt(client, url, "--switch")
    assert "0 tasks and 0 builds" in adopt(client, url, "--switch")


def test_ids_of_another_making_are_kept_and_found(client: Client, doing: pb.ComputeTask, url: str, here: Database):
    """The established implementation draws them by chance, so that they say no time and ascend in no order."""
    org = Organization(Direct(here), "org-1", client.channel)
    told = list(islice(client.events.SubscribeToEvents(pb.SubscribeToEventsParam()), 40))
    for event in told:
        event.id = str(uuid4())
    here.run(NOBODY, client.channel, lambda transaction: rows.write(transaction, batch.of(told)))
    assert {event.id for event in org.events()} == {event.id for event in told}
    assert not [fault for fault in faults(here, client.channel) if "poked" not in fault]


def test_a_channel_that_was_changed_here_is_left_alone(client: Client, doing: pb.ComputeTask, here: Database):
    stranger = Organization(Direct(here), "org-1", client.channel)
    stranger.send(pb.RegisterOrganizationParam())
    with pytest.raises(AdoptionError, match="no other server has told of"):
        next(adoption.follow(client, here, Progress()))


def test_a_key_of_another_channel_is_refused_and_nothing_of_its_step_is_kept(
    client: Client, network: dict[str, Organization], doing: pb.ComputeTask, url: str, here: Database
):
    function = network["org-1"].send(pb.QueryFunctionsParam(page_size=1)).Functions[0]
    elsewhere = Organization(Direct(here), "org-1", "another")
    elsewhere.send(pb.RegisterOrganizationParam())
    elsewhere.send(new_function(key=function.key))
    with pytest.raises(AdoptionError, match=function.key):
        for _ in adoption.follow(client, here, Progress()):
            pass
    kept = Organization(Direct(here), "org-1", client.channel).events()
    assert function.key not in {event.asset_key for event in kept}
