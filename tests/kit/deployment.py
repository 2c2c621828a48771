"""Problems without the wire between: a test is the front end, the modules and the sweeps of a deployment."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from orchestrator import protos as pb
from orchestrator.compute import organizations
from orchestrator.core.errors import ConflictError
from orchestrator.engine import claims, reports
from orchestrator.engine.transaction import Database
from orchestrator.problems import (
    graph,
    handing,
    iterations,
    modules,
    outputs,
    registering,
    reporting,
    settings,
    submitting,
)
from orchestrator.problems.submitting import NewTask, Submitted
from orchestrator.problems.sweeps import silent_modules

APP, CARBON, CONSTRAINTS, RESOURCES, METADATA, MODEL = range(6)
PART = 3 * 1024 * 1024


def new(extra: dict[str, Any] | None = None, *, start: bool = True, priority: int = 0, key: str = "", **more: Any):
    """A task that a client wants, with the members that it names."""
    user_input = pb.UserInput(**more)
    given = set(more)
    if extra is not None:
        user_input.extra_data = json.dumps(extra).encode()
        given.add("extra_data")
    return NewTask(user_input, frozenset(given), start, priority, key)


def task(problem: int, iteration: int) -> pb.TaskId:
    return pb.TaskId(problem_id=problem, iteration_id=iteration)


class Module:
    """A process that runs stages of a kind."""

    def __init__(self, deployment: "Deployment", kind: int, name: str = "", slots: int = 2) -> None:
        self.deployment, self.kind, self.name, self.slots = deployment, kind, name or f"m{kind}", slots
        self.process_id = uuid4().hex
        self.phase = pb.PHASE_SPINNING
        self.registered = self.register()
        self.runs: list[pb.Attempt] = []
        self.stopped: list[pb.Attempt] = []
        self.told = self.report()

    def register(self, process_id: str = "") -> pb.RegisterModuleResponse:
        self.process_id = process_id or self.process_id
        return self.deployment.call(
            registering.register,
            pb.RegisterModuleParam(
                deployment=self.deployment.name,
                kind=self.kind,
                name=self.name,
                process_id=self.process_id,
                slots=self.slots,
            ),
        )

    def report(self, **more: Any) -> pb.ReportModuleResponse:
        asked = pb.ReportModuleParam(
            deployment=self.deployment.name,
            kind=self.kind,
            name=self.name,
            process_id=self.process_id,
            phase=self.phase,
            attempts=self.runs,
            stopped=self.stopped,
            slots=self.slots,
            **more,
        )
        self.told = self.deployment.call(registering.report, asked)
        ended = {(stop.compute_task_key, stop.number) for stop in self.told.stops}
        self.stopped = [each for each in self.runs if (each.compute_task_key, each.number) in ended]
        self.runs = [each for each in self.runs if each not in self.stopped]
        return self.told

    def claim(self, key: UUID | str, attempt: int = 0) -> pb.ClaimTaskResponse:
        asked = pb.ClaimTaskParam(
            compute_task_key=str(key), attempt=attempt, node=self.registered.node, claim_id=uuid4().hex
        )
        claimed = self.deployment.call(claims.claim, asked)
        self.runs.append(claimed.attempt)
        return claimed

    def take(self) -> pb.ClaimTaskResponse | None:
        """Claim the first stage that waits for such a module."""
        due = self.deployment.due(self.kind)
        return self.claim(due[0]) if due else None

    def inputs(self, attempt: pb.Attempt) -> list[Any]:
        parts = self.deployment.call(handing.inputs_of, attempt)
        found = pb.StageInputs.FromString(b"".join(part.data for part in parts))
        return [getattr(pb, each.type.rpartition(".")[2]).FromString(each.message) for each in found.inputs]

    def complete(self, attempt: pb.Attempt, output: Any = None) -> pb.CompleteStageResponse:
        if output is None:
            output = graph.KINDS[self.kind].output()
        data = output if isinstance(output, bytes) else output.SerializeToString()
        answer = self.deployment.call(reporting.complete, parts(attempt, data))
        self.runs = [each for each in self.runs if each != attempt]
        return answer

    def fail(self, attempt: pb.Attempt, code: int, message: str = "", output: Any = None) -> pb.FailTaskResponse:
        data = output.SerializeToString() if output is not None else b""
        failure = pb.StageFailure(code=code, message=message)
        answer = self.deployment.call(reporting.fail, parts(attempt, data, failure))
        self.runs = [each for each in self.runs if each != attempt]
        return answer

    def lose(self, attempt: pb.Attempt) -> pb.FailTaskResponse:
        report = pb.FailTaskParam(attempt=attempt, error_type=pb.ERROR_TYPE_INTERNAL, lost=True, reason="it ended")
        answer = self.deployment.call(reports.fail, report)
        self.runs = [each for each in self.runs if each != attempt]
        return answer

    def run(self, output: Any = None) -> None:
        """Take a stage and complete it."""
        claimed = self.take()
        assert claimed is not None, f"nothing waits for {graph.KINDS[self.kind].name}"
        self.complete(claimed.attempt, output)


def parts(attempt: pb.Attempt, data: bytes, failure: pb.StageFailure | None = None) -> list[pb.StagePart]:
    """A report as it comes."""
    cut = [data[at : at + PART] for at in range(0, len(data), PART)] or [b""]
    first = pb.StagePart(attempt=attempt, failure=failure, data=cut[0])
    return [first, *(pb.StagePart(data=each) for each in cut[1:])]


class Deployment:
    """A deployment in a database, and whatever calls it."""

    def __init__(
        self, database: Database, name: str = "domain-0", organization: str = "org-1", channel: str = "channel"
    ) -> None:
        self.database, self.name, self.organization, self.channel = database, name, organization, channel
        with suppress(ConflictError):
            self.call(organizations.register, pb.RegisterOrganizationParam())

    def call(self, use_case: Any, *arguments: Any) -> Any:
        return self.database.run(self.organization, self.channel, lambda transaction: use_case(transaction, *arguments))

    def ask(self, use_case: Any, *arguments: Any) -> Any:
        """Call a use case of this deployment."""
        return self.call(use_case, self.name, *arguments)

    def rows(self, query: str, **parameters: Any) -> list[Any]:
        with self.database.begin() as connection:
            return list(connection.execute(text(query), parameters).all())

    def change(self, statement: str, **parameters: Any) -> None:
        with self.database.begin() as connection:
            connection.execute(text(statement), parameters)

    def silence(self, name: str, seconds: int = 19) -> None:
        """Let a module be heard last so long ago."""
        self.change(
            "UPDATE modules SET heard_at = heard_at - make_interval(secs => :seconds) WHERE name = :name",
            name=name,
            seconds=seconds,
        )

    def sweep_silent(self) -> int:
        """Look for silent modules, and again after another report could have come."""
        now = datetime.now(UTC)
        silent_modules.end(self.database, now, 10)
        return silent_modules.end(self.database, now + timedelta(seconds=7), 10)

    def submit(self, extra: dict[str, Any] | None = None, **more: Any) -> Submitted:
        return self.ask(submitting.submit, new(extra, **more))

    def iterate(self, parent: pb.TaskId, extra: dict[str, Any] | None = None, **more: Any) -> Submitted:
        return self.ask(submitting.iterate, parent, new(extra, **more))

    def get(self, task_id: pb.TaskId) -> pb.Iteration:
        return self.ask(iterations.get, task_id)

    def states(self, task_id: pb.TaskId) -> list[str]:
        """The states of its stages, in the order of the graph."""
        found = {stage.kind: stage.state for stage in self.get(task_id).stages}
        return [pb.StageState.Name(found[kind]).removeprefix("STAGE_") for kind in graph.in_order()]

    def state(self, task_id: pb.TaskId) -> str:
        return pb.StageState.Name(self.get(task_id).state).removeprefix("STAGE_")

    def output(self, task_id: pb.TaskId, kind: int) -> Any:
        return self.ask(outputs.get, task_id, kind)

    def due(self, kind: int) -> list[UUID]:
        """The tasks To do of a kind, in the order of their pokes."""
        return [
            row.key
            for row in self.rows(
                """
                SELECT stages.task_key AS key FROM stages JOIN task_states ON key = task_key
                JOIN tasks USING (key)
                WHERE deployment = :name AND stages.kind = :kind AND status = :due AND ended_as IS NULL
                ORDER BY priority DESC, (SELECT max(id) FROM outbox WHERE outbox.key = task_key)
                """,
                name=self.name,
                kind=kind,
                due=pb.STATUS_WAITING_FOR_EXECUTOR_SLOT,
            )
        ]

    def modules(self) -> dict[int, Module]:
        """One module of each kind."""
        return {kind: Module(self, kind) for kind in graph.KINDS}

    def finish(self, modules: dict[int, Module], **outputs: Any) -> None:
        """Run all stages that wait, until none does."""
        while any(self.due(kind) for kind in graph.KINDS):
            for kind in graph.in_order():
                while self.due(kind):
                    modules[kind].run(outputs.get(graph.KINDS[kind].name.lower()))

    def kinds(self) -> dict[int, pb.ModuleKind]:
        return {each.kind: each for each in self.ask(modules.states)}

    def events(self, asset_kind: int, type_: Any) -> list[Any]:
        rows = self.rows("SELECT asset FROM events WHERE asset_kind = :kind ORDER BY sequence, id", kind=asset_kind)
        return [type_.FromString(row.asset) for row in rows]


@contextmanager
def told_by(**variables: str) -> Iterator[None]:
    """Let the settings of problems be others: variables without their ORCHESTRATOR_."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in variables.items():
            patched.setenv(f"ORCHESTRATOR_{name}", value)
        settings.current.cache_clear()
        yield
    settings.current.cache_clear()
