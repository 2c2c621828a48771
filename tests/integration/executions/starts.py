"""Executions that Argo would run, without the wire between: a test is their portal, their runtime and their beat."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from orchestrator import protos as pb
from orchestrator.core.states import TASK_WORDS
from orchestrator.engine import claims, reports
from orchestrator.engine.transaction import NOBODY
from orchestrator.executions import executions, schemas
from orchestrator.executions.runtimes import looks, runs, starting
from orchestrator.executions.settings import ExecutionSettings
from orchestrator.executions.sweeps import unstarted
from tests.integration.executions.runs import CENTRAL, CHANNEL, Runs
from tests.kit.member import made

SETTINGS = ExecutionSettings(executions_organization=CENTRAL, executions_runtime="on", executions_start_attempts=2)
MANIFEST = {"metadata": {"generateName": "tumour-"}, "spec": {"of": "patient p-1"}}


class Starts(Runs):
    """What is placed in one database."""

    def schema(self) -> str:
        """Store a schema, and return its name."""
        schema = pb.WorkflowSchema(name=str(uuid4()), implementation="argo_workflows")
        schema.auxiliary_file.key = str(uuid4())
        self.call(lambda transaction, _: schemas.insert(transaction, schema), None)
        return schema.name

    def delete_schema(self, name: str) -> None:
        def use(transaction: Any, _: None) -> None:
            schemas.delete(transaction, name)
            runs.end_of_schema(transaction, name, "its schema was deleted")
            executions.delete_of_schema(transaction, name)

        self.call(use, None)

    def place(self, iterations: int = 0, schema: str = "") -> int:
        """Have an execution started, of a schema of its own or of this; return its id."""
        name = schema or self.schema()

        def use(transaction: Any, _: None) -> int:
            new = pb.Execution(schema=name, number_iterations=iterations)
            execution = executions.insert(transaction, new, {})
            starting.begin(transaction, execution, MANIFEST, SETTINGS)
            return execution.id

        return self.call(use, None)

    def of(self, id_: int) -> dict[str, tuple[UUID, str]]:
        """The steps about an execution, by their role: key and state."""
        rows = self.rows("SELECT key, message, status FROM tasks JOIN task_states USING (key) ORDER BY created_at, key")
        found = [(pb.ExecutionStep.FromString(row.message), row) for row in rows]
        return {
            pb.StepRole.Name(step.role).removeprefix("STEP_ROLE_"): (row.key, TASK_WORDS[row.status])
            for step, row in found
            if step.execution == id_
        }

    def words(self, id_: int) -> dict[str, str]:
        return {role: word for role, (_, word) in self.of(id_).items()}

    def take(self, id_: int, role: str, work: Any, organization: str = CENTRAL) -> tuple[pb.Attempt, Any]:
        """Claim a step; return the attempt, and what it is told."""
        asked = pb.ClaimTaskParam(compute_task_key=str(self.of(id_)[role][0]), node="runtime", claim_id=str(uuid4()))
        claimed = self.call(claims.claim, asked, organization)
        told = work()
        assert claimed.work.Unpack(told)
        return claimed.attempt, told

    def done(self, attempt: pb.Attempt, result: Any) -> None:
        report = pb.CompleteTaskParam(attempt=attempt)
        report.results.Pack(result)
        self.call(reports.complete, report)

    def started(self, workflow: str = "", **more: Any) -> tuple[int, str]:
        """An execution whose workflow is there; its id and the label."""
        id_ = self.place(**more)
        attempt, told = self.take(id_, "START", pb.StartWork)
        self.done(attempt, pb.Started(workflow=workflow or f"tumour-{told.label}"))
        return id_, told.label

    def unreachable(self, attempt: pb.Attempt, kind: "pb.ErrorType.ValueType" = pb.ERROR_TYPE_INTERNAL) -> None:
        self.call(reports.fail, pb.FailTaskParam(attempt=attempt, error_type=kind, reason="Argo is away"))

    def soon(self) -> None:
        """Let all pauses be over."""
        self.rows("UPDATE task_states SET due_at = NULL WHERE due_at IS NOT NULL RETURNING key")

    def look(self, *found: pb.FoundWorkflow, patience: float = 0, organization: str = CENTRAL) -> pb.EndLookResponse:
        """Look once, and find these."""
        begun = self.call(looks.begin, pb.BeginLookParam(), organization)
        asked = pb.EndLookParam(began_at=begun.began_at, workflows=found, patience_seconds=patience)
        return self.call(looks.end, asked, organization)

    def sweep_unstarted(self, seconds: float) -> None:
        """Run the beat's sweep, some seconds later."""
        sweep = made(unstarted, self.database, execution_start_limit=3600)
        sweep.sweep(self.database, datetime.now(UTC) + timedelta(seconds=seconds))


__all__ = ["CENTRAL", "CHANNEL", "NOBODY", "Starts"]
