"""One organization that calls the use cases without the wire between, and looks at what they kept."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Row, text

from beat.settings import BeatSettings
from orchestrator import protos as pb
from orchestrator.compute import functions, nodes, organizations, plans, task_actions, task_registration, tasks
from orchestrator.core.errors import OrchestratorError
from orchestrator.core.states import TASK_WORDS
from orchestrator.engine import claims, heartbeats, outbox, reports
from orchestrator.engine.transaction import Database
from orchestrator.store.sweep import Sweep
from tests.kit import messages

_HISTORY = text("""
    SELECT asset, metadata FROM events WHERE asset_kind = :kind AND asset_key = :key ORDER BY sequence, id
""")


def sent(database: Database) -> list[outbox.Poke]:
    """Send what the outbox holds, to nowhere, in the order in which it was written."""
    taken = []
    with database.begin() as connection:
        for queue in outbox.waiting(connection):
            part = outbox.take(connection, queue, 100_000)
            outbox.mark_sent(connection, queue, [identity for identity, _ in part])
            taken += part
    return [poke for _, poke in sorted(taken, key=lambda each: each[0])]


def after(seconds: float) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def made(module: Any, database: Database, **settings: Any) -> Sweep:
    """The sweep of a module, with batches of two."""
    given = {"sweep_batch": 2, **settings}
    return module.make(BeatSettings(database_url=database.url, broker_url="redis://unused", **given))


class Member:
    """One organization with a function that is ready, and a compute plan."""

    def __init__(self, database: Database, organization: str = "org-1", channel: str = "channel") -> None:
        self.database = database
        self.organization = organization
        self.channel = channel
        self.call(organizations.register, pb.RegisterOrganizationParam())
        self.function = self.call(functions.register, messages.new_function())
        self.act(self.function, pb.FUNCTION_ACTION_BUILDING)
        self.act(self.function, pb.FUNCTION_ACTION_READY)
        self.plan = self.new_plan()
        self.send()

    def call(self, use_case: Any, request: Any, organization: str | None = None) -> Any:
        caller = organization or self.organization
        return self.database.run(caller, self.channel, lambda transaction: use_case(transaction, request))

    def act(self, function: pb.Function, action: int) -> None:
        self.call(functions.apply_action, pb.ApplyFunctionActionParam(function_key=function.key, action=action))

    def new_plan(self, **changes: Any) -> pb.ComputePlan:
        return self.call(plans.register, messages.new_plan(**changes))

    def register(
        self, count: int = 1, parents: Any = (), plan: pb.ComputePlan | None = None, **changes: Any
    ) -> list[UUID]:
        """Tasks of the plan that take the model of each parent."""
        new = [messages.new_task(self.function, plan or self.plan, parents, **changes) for _ in range(count)]
        self.call(task_registration.register, [messages.tasks(*new)])
        return [UUID(task.key) for task in new]

    def below(self, *parents: UUID, plan: pb.ComputePlan | None = None) -> UUID:
        """A task that takes the models of these."""
        return self.register(1, [str(parent) for parent in parents], plan)[0]

    def claim(self, task: UUID, attempt: int = 0, claim_id: str = "", node: str = "node-1") -> pb.ClaimTaskResponse:
        claim_id = claim_id or messages.new_key()
        asked = pb.ClaimTaskParam(compute_task_key=str(task), attempt=attempt, node=node, claim_id=claim_id)
        return self.call(claims.claim, asked)

    def heartbeat(self, *held: pb.Attempt, stopped: Any = (), node: str = "node-1") -> pb.HeartbeatResponse:
        return self.call(heartbeats.heartbeat, pb.HeartbeatParam(node=node, attempts=held, stopped=stopped))

    def complete(self, attempt: pb.Attempt, *models: pb.NewModel, **changes: Any) -> None:
        self.call(reports.complete, pb.CompleteTaskParam(attempt=attempt, models=models, **changes))

    def fail(
        self,
        attempt: pb.Attempt,
        error_type: "pb.ErrorType.ValueType" = pb.ERROR_TYPE_INTERNAL,
        timed_out: bool = False,
        reason: str = "",
    ) -> pb.FailTaskResponse:
        logs = None if error_type == pb.ERROR_TYPE_INTERNAL else messages.address()
        asked = pb.FailTaskParam(
            attempt=attempt, error_type=error_type, logs_address=logs, timed_out=timed_out, reason=reason
        )
        return self.call(reports.fail, asked)

    def release(self, attempt: pb.Attempt, reason: str = "it stops") -> None:
        self.call(reports.release, pb.ReleaseTaskParam(attempt=attempt, reason=reason))

    def run(self, task: UUID) -> pb.Attempt:
        """Claim a task and complete it with a model."""
        attempt = self.claim(task).attempt
        self.complete(attempt, messages.new_model(str(task)))
        return attempt

    def start(self, task: UUID) -> None:
        """Begin a task as a client without attempts does."""
        self.call(
            task_actions.apply,
            pb.ApplyTaskActionParam(compute_task_key=str(task), action=pb.TASK_ACTION_EXECUTING),
        )

    def end(self, task: UUID, action: "pb.ComputeTaskAction.ValueType") -> None:
        """Fail or cancel a task, as its owner may."""
        self.call(task_actions.apply, pb.ApplyTaskActionParam(compute_task_key=str(task), action=action))

    def cancel(self, plan: pb.ComputePlan | None = None) -> None:
        key = (plan or self.plan).key
        self.call(plans.apply_action, pb.ApplyPlanActionParam(key=key, action=pb.PLAN_ACTION_CANCELED))

    def receipts(self) -> list[pb.StopReceipt]:
        return list(self.call(nodes.cancellation, pb.GetCancellationParam(compute_plan_key=self.plan.key)).receipts)

    def word(self, task: UUID) -> str:
        """What people call the state of a task."""
        return TASK_WORDS[self.call(tasks.show, pb.GetTaskParam(key=str(task))).status]

    def words(self, keys: Any) -> list[str]:
        return [self.word(key) for key in keys]

    def failed(self, plan: pb.ComputePlan | None = None) -> bool:
        return self.call(plans.get, pb.GetComputePlanParam(key=(plan or self.plan).key)).HasField("failure_date")

    def row(self, task: UUID) -> Row[Any]:
        return self.rows("SELECT * FROM tasks JOIN task_states USING (key) WHERE key = :key", key=task)[0]

    def attempts(self, task: UUID) -> list[Row[Any]]:
        return self.rows("SELECT * FROM attempts WHERE task_key = :key ORDER BY number", key=task)

    def rows(self, query: str, **parameters: Any) -> list[Row[Any]]:
        with self.database.engine.begin() as connection:
            return list(connection.execute(text(query), parameters))

    def execute(self, statement: str, **parameters: Any) -> None:
        with self.database.engine.begin() as connection:
            connection.execute(text(statement), parameters)

    def history(self, task: UUID) -> list[tuple[str, str]]:
        """The states that the events of a task tell of, in their order, with the reasons."""
        with self.database.engine.begin() as connection:
            rows = connection.execute(_HISTORY, {"kind": pb.ASSET_COMPUTE_TASK, "key": str(task)}).all()
        return [
            (TASK_WORDS[pb.ComputeTask.FromString(asset).status], (given or {}).get("reason", ""))
            for asset, given in rows
        ]

    def send(self) -> list[outbox.Poke]:
        """Send what the outbox holds, to nowhere."""
        return sent(self.database)

    def snapshot(self, task: UUID) -> object:
        """All that is kept of a task, to see that nothing changed."""
        return self.row(task), self.attempts(task), self.history(task), self.rows("SELECT count(*) FROM models")

    @contextmanager
    def locked(self, table: str, condition: str, **parameters: Any) -> Iterator[None]:
        """Hold rows as another transaction does."""
        with self.database.engine.connect() as connection, connection.begin():
            query = f"SELECT 1 FROM {table} WHERE {condition} FOR NO KEY UPDATE"
            assert connection.execute(text(query), parameters).all()
            yield


@contextmanager
def refused(code: str, words: str = "") -> Iterator[None]:
    with pytest.raises(OrchestratorError, match=words or None) as caught:
        yield
    assert caught.value.code == code


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Begin calls at the same moment, each in a thread; return what they return."""
    barrier = Barrier(len(calls))

    def begin(call: Callable[[], Any]) -> Any:
        barrier.wait(60)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result(30) for future in [pool.submit(begin, call) for call in calls]]
