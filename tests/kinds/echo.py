"""A kind of work that exists in the tests only: JSON in, JSON out, on a queue of its own.

It is all that a kind is: its messages (`echo.proto`), its answers to the engine, a gRPC service to submit by, and a
Celery worker, `python -m tests.kinds.echo`. An entry point of a distribution that a test lays out registers it.
"""

import json
import os
import secrets
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from uuid import UUID

import echo_pb2 as echo
from celery import Celery
from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.broker import connection
from orchestrator.client import CallError, Client
from orchestrator.core import states
from orchestrator.core.errors import InvalidAssetError
from orchestrator.core.kinds import OWN_KINDS
from orchestrator.core.pokes import RUN_TASK
from orchestrator.engine import plans, retries, tasks
from orchestrator.engine.kinds import Failure, Policies, Service
from orchestrator.engine.retries import FaultKind
from orchestrator.engine.tasks import NewTask, Task
from orchestrator.engine.transaction import Transaction

NAME = "echo"
QUEUE = "echo.main"
_TASK, _ANSWER = OWN_KINDS + 800, OWN_KINDS + 801


def submit(transaction: Transaction, asked: echo.NewPlan) -> echo.Submitted:
    """Register a plan and its tasks; what is not JSON is refused."""
    plan = UUID(asked.key)
    plans.register(transaction, plan, NAME)
    new = [_new(transaction, plan, each) for each in asked.tasks]
    tasks.insert_many(transaction, new, outer=())
    for task in new:
        transaction.events.registered(str(task.key), _TASK, task.definition + KIND.state(task.status))
        if not task.parents:
            transaction.pokes.run(task.queue, task.key, 1, task.priority)
    return echo.Submitted()


def _new(transaction: Transaction, plan: UUID, asked: echo.NewTask) -> NewTask:
    try:
        json.loads(asked.json)
    except ValueError as error:
        raise InvalidAssetError(f"task {asked.key}: {error}") from error
    task = echo.Task(key=asked.key, plan=str(plan), owner=transaction.organization, json=asked.json)
    return NewTask(
        key=UUID(asked.key),
        kind=NAME,
        plan=plan,
        worker=transaction.organization,
        queue=QUEUE,
        status=states.ready_status(len(asked.parents)),
        definition=task.SerializeToString(),
        parents=[UUID(parent) for parent in asked.parents],
        pending_parents=len(asked.parents),
        priority=asked.priority,
    )


def cancel(transaction: Transaction, asked: echo.Plan) -> echo.Submitted:
    """Cancel the tasks of a plan that have not ended."""
    key = UUID(asked.key)
    plans.hold(transaction, [key])
    live = plans.lock_live(transaction, key)
    if plans.end(transaction, key, pb.STATUS_CANCELED):
        plans.cancel(transaction, live, "cancelled by its owner")
    return echo.Submitted()


class Echo:
    """What the engine asks."""

    name = NAME
    asset_kind = _TASK
    own_assets: Mapping[int, type[Message]] = {_TASK: echo.Task, _ANSWER: echo.Answer}
    plan_noun = "echo plan"
    follows_done = False
    guards_claims = False
    services: Sequence[Service] = (
        Service(echo.DESCRIPTOR.services_by_name["EchoService"], {"Submit": submit, "Cancel": cancel}),
    )

    def admit(self, transaction: Transaction, task: Task, node: str) -> None:
        """Let any node take any task."""

    def reads(self, transaction: Transaction, queue: str) -> bool:
        return queue == QUEUE

    def state(self, status: int) -> bytes:
        return echo.Task(status=status).SerializeToString()

    def hand_over(self, transaction: Transaction, task: Task, answer: pb.ClaimTaskResponse) -> None:
        answer.work.Pack(echo.Work(json=echo.Task.FromString(task.definition).json))

    def returned(self, transaction: Transaction, task: Task, fault: FaultKind | None) -> None:
        """Do nothing: the next attempt follows by itself."""

    def complete(self, transaction: Transaction, task: Task, report: pb.CompleteTaskParam) -> None:
        answer = echo.Answer()
        if not report.results.Unpack(answer):
            raise InvalidAssetError("results: an echo.Answer is expected")
        transaction.events.own(pb.EVENT_ASSET_CREATED, str(task.key), _ANSWER, answer)

    def fault(self, report: pb.FailTaskParam) -> FaultKind:
        return retries.kind_of(report.error_type, report.timed_out, report.lost)

    def fail(self, transaction: Transaction, task: Task, failure: Failure) -> None:
        """Keep nothing: the event of the task says what failed."""

    def ended(self, transaction: Transaction, task: Task) -> None:
        if task.status == pb.STATUS_FAILED:
            plans.end(transaction, task.plan, pb.STATUS_FAILED)

    def policies(self, transaction: Transaction, task: Task) -> Policies:
        backoff = {"orchestrator.retry.backoff": "0.05"}
        return Policies(overrides=[backoff])


KIND = Echo()


def worker(address: str, organization: str, channel: str, broker: str, node: str) -> Celery:
    """Return a worker that echoes: a task `{"fail": n}` fails in its first n attempts, `{"sleep": s}` takes so long."""
    app = Celery(NAME, set_as_current=False)
    app.conf.update(**connection.queue(broker, QUEUE), worker_prefetch_multiplier=1)
    client = Client(address, organization, channel)
    running: dict[str, pb.Attempt] = {}
    stopped: list[pb.Attempt] = []
    stops = threading.Event()

    def beat() -> None:
        while True:
            param = pb.HeartbeatParam(node=node, attempts=list(running.values()), stopped=stopped, slots=1, queue=QUEUE)
            answer = client.worker.Heartbeat(param)
            stopped.clear()
            if answer.stops:
                stops.set()
            time.sleep(answer.lease.ToTimedelta().total_seconds() / 5)

    threading.Thread(target=beat, daemon=True).start()

    @app.task(name=RUN_TASK, shared=False)
    def run(task: str, attempt: int) -> None:
        try:
            claimed = client.worker.ClaimTask(
                pb.ClaimTaskParam(compute_task_key=task, attempt=attempt, node=node, claim_id=secrets.token_urlsafe())
            )
        except CallError as refused:
            print(f"not claimed: {refused}", flush=True)
            return
        work = echo.Work()
        claimed.work.Unpack(work)
        asked = json.loads(work.json)
        running[task] = claimed.attempt
        stops.clear()
        print(f"runs {task} attempt {attempt}", flush=True)
        was_stopped = stops.wait(asked.get("sleep", 0))
        del running[task]
        if was_stopped:
            stopped.append(claimed.attempt)
        elif attempt <= asked.get("fail", 0):
            client.worker.FailTask(
                pb.FailTaskParam(attempt=claimed.attempt, error_type=pb.ERROR_TYPE_INTERNAL, reason="asked to fail")
            )
        else:
            report = pb.CompleteTaskParam(attempt=claimed.attempt)
            report.results.Pack(echo.Answer(json=work.json))
            client.worker.CompleteTask(report)

    return app


def main() -> None:
    address, organization, channel, node = sys.argv[1:]
    app = worker(address, organization, channel, os.environ["ECHO_BROKER"], node)
    app.worker_main(["worker", "--pool=solo", f"--hostname={QUEUE}@{node}", "--loglevel=warning"])


if __name__ == "__main__":
    main()
