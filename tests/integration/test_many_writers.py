"""Twenty clients that do everything at once in the same compute plans: no deadlock, no lost update, no odd error."""

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import grpc
import psycopg
import pytest

from orchestrator import protos as pb
from orchestrator.embedded.postgres import Postgres
from tests.kit.database import deadlocks, opened
from tests.kit.messages import PUBLIC, models, new_key, new_model, new_task, output, task_failure, tasks
from tests.kit.organization import ORGANIZATIONS, Organization, task_action
from tests.kit.servers import serving
from tests.kit.transports import TIMEOUT_SECONDS, Wire, connect

CLIENTS = 20
TURNS = 60
CHANNEL = "many"
EXPECTED = {"OK", "OE0003", "OE0006", "OE0101", "OE0104", "OE0108", "OE0109"}
"""What a call may be told when another one came first; none of them is retried by a client."""
TERMINAL = (pb.STATUS_DONE, pb.STATUS_CANCELED, pb.STATUS_FAILED)


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.create_database(f"test_{uuid.uuid4().hex}")


@pytest.fixture
def address(url: str, tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path, url, {CHANNEL: list(ORGANIZATIONS)}) as address:
        yield address
    with opened(url) as database:
        assert deadlocks(database) == 0


class World:
    """What all clients know: plans, functions, tasks, and the attempts that were claimed."""

    def __init__(self, org: Organization) -> None:
        self.plans = [org.register_plan() for _ in range(3)]
        self.cancelled = [org.register_plan() for _ in range(8)]
        self.functions = [org.register_function() for _ in range(2)]
        self.building = [org.register_function(pb.FUNCTION_STATUS_BUILDING) for _ in range(6)]
        self.tasks: list[pb.NewComputeTask] = []
        self.attempts: list[tuple[str, pb.Attempt]] = []


class Client:
    """One client: sends requests of its own choice, and notes what it is told."""

    def __init__(self, transport: grpc.Channel, world: World, seed: int) -> None:
        self.told: Counter[str] = Counter()
        self._random = Random(seed)
        self._world = world
        self._organizations = {name: Organization(Wire(transport), name, CHANNEL) for name in ORGANIZATIONS}
        self._workers = pb.WorkerServiceStub(transport)
        self._choices: list[tuple[int, Callable[[], Any]]] = [
            (22, self.register),
            (26, self.run),
            (12, self.claim),
            (14, self.report),
            (6, self.heartbeat),
            (5, self.fail),
            (3, self.cancel),
            (4, self.rename),
            (3, self.disable),
            (2, self.build),
            (2, self.cancel_plan),
        ]

    def go(self) -> Counter[str]:
        weights, choices = zip(*self._choices, strict=True)
        for choice in self._random.choices(choices, weights, k=TURNS):
            choice()
        return self.told

    def attempt(self, call: Callable[[], Any]) -> Any:
        try:
            answer = call()
        except grpc.RpcError as error:
            code = error.details()[:6]
            self.told[code if code in EXPECTED else f"{error.code()} {error.details()}"] += 1
            return None
        self.told["OK"] += 1
        return answer

    def send(self, name: str, request: Any) -> Any:
        return self.attempt(lambda: self._organizations[name].send(request))

    def call(self, method: Any, name: str, request: Any) -> Any:
        metadata = (("mspid", name), ("channel", CHANNEL))
        return self.attempt(lambda: method(request, metadata=metadata, timeout=TIMEOUT_SECONDS))

    def some(self, known: list[Any], amount: int = 1) -> list[Any]:
        return self._random.sample(known, min(amount, len(known)))

    def register(self) -> None:
        world = self._world
        plan = self._random.choice([*world.plans * 3, *world.cancelled])
        new: list[pb.NewComputeTask] = []
        for _ in range(self._random.randint(1, 8)):
            parents = self.some(world.tasks[-60:] + new, self._random.randint(0, 3))
            function = self._random.choice([*world.functions * 4, *world.building])
            worker = self._random.choice(ORGANIZATIONS)
            outputs = {"model": output(PUBLIC, transient=True)}
            new.append(new_task(function, plan, parents, worker=worker, outputs=outputs))
        self._random.shuffle(new)
        if self.send("org-1", tasks(*new)):
            world.tasks += new

    def run(self) -> None:
        for task in self.some(self._world.tasks, 3):
            if self.send(task.worker, task_action(task, pb.TASK_ACTION_EXECUTING)):
                self.send(task.worker, models(new_model(task)))
                self.send(task.worker, task_action(task, pb.TASK_ACTION_DONE))

    def claim(self) -> None:
        for task in self.some(self._world.tasks, 3):
            asked = pb.ClaimTaskParam(compute_task_key=task.key, node="node", claim_id=new_key())
            claimed = self.call(self._workers.ClaimTask, task.worker, asked)
            if claimed:
                self._world.attempts.append((task.worker, claimed.attempt))

    def report(self) -> None:
        for worker, attempt in self.some(self._world.attempts, 2):
            if self._random.random() < 0.8:
                report = pb.CompleteTaskParam(attempt=attempt, models=[new_model(attempt.compute_task_key)])
                self.call(self._workers.CompleteTask, worker, report)
            else:
                failed = pb.FailTaskParam(attempt=attempt, error_type=pb.ERROR_TYPE_INTERNAL)
                self.call(self._workers.FailTask, worker, failed)

    def heartbeat(self) -> None:
        for name in ORGANIZATIONS:
            held = [attempt for worker, attempt in self._world.attempts if worker == name]
            self.call(self._workers.Heartbeat, name, pb.HeartbeatParam(attempts=self.some(held, 100)))

    def fail(self) -> None:
        for task in self.some(self._world.tasks):
            if self._random.random() < 0.5:
                self.send(task.worker, task_action(task, pb.TASK_ACTION_FAILED))
            else:
                self.send(task.worker, task_failure(task))

    def cancel(self) -> None:
        for task in self.some(self._world.tasks):
            self.send("org-1", task_action(task, pb.TASK_ACTION_CANCELED))

    def rename(self) -> None:
        plan = self._random.choice(self._world.plans)
        self.send("org-1", pb.UpdateComputePlanParam(key=plan.key, name=new_key()))

    def disable(self) -> None:
        for task in self.some(self._world.tasks):
            self.send(task.worker, pb.DisableOutputParam(compute_task_key=task.key, identifier="model"))

    def build(self) -> None:
        function = self._random.choice(self._world.building)
        action = self._random.choice((pb.FUNCTION_ACTION_READY, pb.FUNCTION_ACTION_FAILED, pb.FUNCTION_ACTION_CANCELED))
        self.send("org-1", pb.ApplyFunctionActionParam(function_key=function.key, action=action))

    def cancel_plan(self) -> None:
        plan = self._random.choice(self._world.cancelled)
        self.send("org-1", pb.ApplyPlanActionParam(key=plan.key, action=pb.PLAN_ACTION_CANCELED))


def test_twenty_clients_do_everything_at_once(url: str, address: str, tmp_path: Path):
    transports = [connect(address) for _ in range(CLIENTS)]
    try:
        network = {name: Organization(Wire(transports[0]), name, CHANNEL) for name in ORGANIZATIONS}
        for organization in network.values():
            organization.send(pb.RegisterOrganizationParam())
        world = World(network["org-1"])
        clients = [Client(transport, world, seed) for seed, transport in enumerate(transports)]
        with ThreadPoolExecutor(CLIENTS) as threads:
            calls = [threads.submit(client.go) for client in clients]
            told = sum((call.result(100) for call in calls), Counter())
        assert set(told) <= EXPECTED, told
        assert told["OK"] > 500, told
        check_tables(url)
        check_events(network["org-1"])
        assert "transaction.retried" not in (tmp_path / "server.log").read_text()
    finally:
        for transport in transports:
            transport.close()


def test_a_call_that_waits_for_a_latch_holds_up_no_others(url: str, address: str):
    transports = [connect(address) for _ in range(9)]
    try:
        network = [Organization(Wire(transport), "org-1", CHANNEL) for transport in transports]
        org = network[0]
        org.send(pb.RegisterOrganizationParam())
        function, held, free = org.register_function(), org.register_plan(), org.register_plan()
        (waiting, *others) = [new_task(function, plan) for plan in (held, *[free] * 64)]
        org.send(tasks(waiting, *others))
        org.act(waiting, pb.TASK_ACTION_EXECUTING)

        def live(number: int) -> None:
            for task in others[number::8]:
                network[number].act(task, pb.TASK_ACTION_EXECUTING)
                network[number].send(models(new_model(task)))
                network[number].act(task, pb.TASK_ACTION_DONE)

        with ThreadPoolExecutor(9) as threads, psycopg.connect(url) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [held.key])
            late = threads.submit(network[8].act, waiting, pb.TASK_ACTION_DONE)
            for lived in [threads.submit(live, number) for number in range(8)]:
                lived.result(TIMEOUT_SECONDS)
            assert not late.done()
            connection.rollback()
            late.result(TIMEOUT_SECONDS)
        assert {org.task(task).status for task in (waiting, *others)} == {pb.STATUS_DONE}
    finally:
        for transport in transports:
            transport.close()


def rows(url: str, query: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query).fetchall()


def check_tables(url: str) -> None:
    """Check that what is kept twice agrees."""
    wrong_counts = """
        SELECT key FROM task_states WHERE pending_parents <>
            (SELECT count(*) FROM edges JOIN task_states AS parents ON parents.key = parent
             WHERE child = task_states.key AND parents.status <> 4)
    """
    assert rows(url, wrong_counts) == []
    stuck = "SELECT key, status FROM task_states WHERE (status = 1) <> (pending_parents > 0) AND status IN (1, 2, 3, 4)"
    assert rows(url, stuck) == []
    unpoked = """
        SELECT key FROM task_states WHERE status = 2 AND due_at IS NULL AND NOT EXISTS
            (SELECT FROM outbox WHERE outbox.key = task_states.key AND attempt = task_states.attempts + 1)
    """
    assert rows(url, unpoked) == []
    half_ended = """
        SELECT key FROM task_states LEFT JOIN attempts ON task_key = key AND number = attempts
        WHERE (status = 3) <> (number IS NOT NULL AND ended_at IS NULL)
    """
    assert rows(url, half_ended) == []
    needed = """
        SELECT task_key FROM models JOIN edges ON parent = task_key JOIN task_states ON task_states.key = child
        WHERE disabled AND status NOT IN (4, 5, 6)
    """
    assert rows(url, needed) == [], "a model was disabled that a task still needs"
    assert rows(url, "SELECT status FROM task_states GROUP BY status HAVING status IN (4, 5, 6) ORDER BY status") == [
        (4,),
        (5,),
        (6,),
    ]


def check_events(org: Organization) -> None:
    """Check that each asset is as its last event says, and that each task's history is one that may be."""
    last = org.register_plan().key
    newest: dict[str, Any] = {}
    ended: set[str] = set()
    for event in org.subscribe(timeout=60):
        if event.asset_key == last:
            break
        if event.HasField("compute_task"):
            task = event.compute_task
            assert task.key not in ended, "an event came after the end of its task"
            if task.status in TERMINAL:
                ended.add(task.key)
            for given in task.inputs:
                parent = newest[given.parent_task_output.parent_task_key]
                if task.status in (pb.STATUS_WAITING_FOR_EXECUTOR_SLOT, pb.STATUS_EXECUTING, pb.STATUS_DONE):
                    assert parent.status == pb.STATUS_DONE, "a task came before its parent was Done"
            newest[task.key] = task
        elif event.HasField("compute_plan"):
            newest[event.asset_key] = event.compute_plan
    kept = [*org.all(pb.QueryTasksParam(page_size=1000)), *org.all(pb.QueryPlansParam(page_size=1000))]
    assert {asset.key: asset for asset in kept if asset.key != last} == newest
    for plan in org.all(pb.QueryPlansParam(page_size=1000)):
        query = pb.QueryTasksParam(page_size=1000, filter=pb.TaskQueryFilter(compute_plan_key=plan.key))
        statuses = {task.status for task in org.all(query)}
        if plan.HasField("cancelation_date"):
            assert statuses <= set(TERMINAL)
