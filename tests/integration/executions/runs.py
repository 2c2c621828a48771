"""Executions that workers run, without the wire between: a test is their portal, their workers and their sweeps."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import yaml
from sqlalchemy import text

from orchestrator import protos as pb
from orchestrator.audit import stored
from orchestrator.compute import organizations
from orchestrator.core.states import TASK_WORDS
from orchestrator.engine import claims, heartbeats, reports
from orchestrator.engine.sweeps import stuck_tasks
from orchestrator.engine.transaction import Database
from orchestrator.executions import executions, schemas, states
from orchestrator.executions.maas import STAND_IN
from orchestrator.executions.runtimes import runs
from orchestrator.executions.settings import ExecutionSettings
from orchestrator.executions.sweeps import deserted_runs, unreported_runs, waiting_gangs
from orchestrator.executions.tasks import task_runs
from orchestrator.executions.templates import manifest, parameters, template
from tests.kit.member import made

CENTRAL, FIRST, SECOND = "central", "data-partner-1", "data-partner-2"
CHANNEL = "channel"
SETTINGS = ExecutionSettings(executions_organization=CENTRAL)


def box(name: str = "box", partner: str = "", **more: Any) -> dict[str, Any]:
    """A template of a container, at a data partner or at the central node."""
    container = {"image": "img", **more.pop("container", {})}
    selector = {"nodeSelector": {"dataPartner": partner}} if partner else {}
    return {"name": name, "container": container, **selector, **more}


def dag(*tasks: dict[str, Any], name: str = "main") -> dict[str, Any]:
    return {"name": name, "dag": {"tasks": list(tasks)}}


def task(name: str, template: str = "box", *after: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "template": template, "dependencies": list(after), **more}


FEDERATED = (
    dag(
        task("server", "server"),
        task(
            "clients",
            "client",
            withParam="{{workflow.parameters.execution_dataPartnerPatientsList}}",
            arguments={"parameters": [{"name": "partner", "value": "{{item.data_partner}}"}]},
        ),
        task("end", "server", "server", "clients"),
    ),
    box("server"),
    box("client", "{{inputs.parameters.partner}}", inputs={"parameters": [{"name": "partner"}]}),
)


class Runs:
    """What is run in one database.

    Args:
        database: a migrated one.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        for organization in (CENTRAL, FIRST, SECOND):
            self.call(organizations.register, pb.RegisterOrganizationParam(), organization)

    def call(self, use_case: Any, request: Any, organization: str = CENTRAL) -> Any:
        return self.database.run(organization, CHANNEL, lambda transaction: use_case(transaction, request))

    def start(self, *templates: dict[str, Any], federated: bool = False, runtime: str = "off", **spec: Any) -> int:
        """Start an execution of a new schema, whose workflow begins at the first template; return its id."""
        settings = SETTINGS.model_copy(update={"executions_runtime": runtime})
        asked = {"entrypoint": templates[0]["name"], "templates": list(templates), **spec}
        loaded = template.load(yaml.safe_dump({"metadata": {"generateName": "run-"}, "spec": asked}).encode())
        schema = pb.WorkflowSchema(
            name=str(uuid4()),
            type="joint",
            implementation="tasks",
            platform_data=True,
            federated_learning_configuration=federated,
            auxiliary_file=pb.StoredFile(key=str(uuid4())),
        )
        partners = [
            pb.PartnerPatients(name=name, patients=['"p"'], system_path="/srv")
            for name in ((FIRST, SECOND) if federated else (FIRST,))
        ]
        new = pb.Execution(
            schema=schema.name,
            partners=partners,
            number_iterations=2 if federated else 0,
            engines=[pb.ExecutionEngine(descriptor_name="main", version=4, values=STAND_IN)],
        )

        def use(transaction: Any, _: None) -> int:
            schemas.insert(transaction, schema)
            execution = executions.insert(transaction, new, {})
            told = manifest.make(loaded, parameters.of(execution, schema, settings))
            task_runs.begin(transaction, execution, told, settings)
            return execution.id

        return self.call(use, None)

    def report(self, id_: int, status: Any) -> None:
        self.call(lambda transaction, _: executions.report(transaction, id_, status), None)

    def cancel(self, id_: int) -> None:
        self.call(lambda transaction, _: runs.end(transaction, id_, "cancelled"), None)

    def delete(self, id_: int) -> None:
        self.cancel(id_)
        self.call(lambda transaction, _: executions.delete(transaction, id_), None)

    def state(self, id_: int) -> tuple[str, str]:
        """What clients see of an execution: its state and its message."""
        found = self.call(lambda transaction, _: executions.get(transaction, id_), None)
        return states.WORDS[found.status], found.message

    def steps(self, id_: int) -> dict[str, str]:
        """The steps of an execution but for gates and what cleans up, and what people call their states."""
        return {name: word for name, (_, word) in self._steps(id_).items() if " " not in name}

    def _steps(self, id_: int) -> dict[str, tuple[UUID, str]]:
        rows = self.rows("SELECT key, message, status FROM tasks JOIN task_states USING (key) ORDER BY rank, key")
        found = [(pb.ExecutionStep.FromString(row.message), row) for row in rows]
        return {
            step.name: (row.key, TASK_WORDS[row.status])
            for step, row in found
            if step.execution == id_ and step.role != pb.STEP_ROLE_CLEAN
        }

    def poked(self) -> set[str]:
        """The steps that workers are asked to claim, of all executions, as `3 server`."""
        rows = self.rows("SELECT message FROM tasks WHERE key IN (SELECT key FROM outbox WHERE message = 'task.run')")
        steps = [pb.ExecutionStep.FromString(row.message) for row in rows]
        return {f"{step.execution} {step.name}" for step in steps}

    def claim(self, id_: int, step: str, organization: str = CENTRAL, work: Any = None) -> tuple[pb.Attempt, Any]:
        key, _ = self._steps(id_)[step]
        asked = pb.ClaimTaskParam(compute_task_key=str(key), node="node", claim_id=str(uuid4()))
        claimed = self.call(claims.claim, asked, organization)
        work = work or pb.ContainerWork()
        assert claimed.work.Unpack(work)
        return claimed.attempt, work

    def complete(self, attempt: pb.Attempt, organization: str = CENTRAL, done: Any = None) -> None:
        report = pb.CompleteTaskParam(attempt=attempt)
        report.results.Pack(done or pb.ContainerDone())
        self.call(reports.complete, report, organization)

    def fail(self, attempt: pb.Attempt, organization: str = CENTRAL, reason: str = "exit code 3") -> None:
        asked = pb.FailTaskParam(attempt=attempt, error_type=pb.ERROR_TYPE_EXECUTION, reason=reason)
        self.call(reports.fail, asked, organization)

    def release(self, attempt: pb.Attempt, organization: str) -> None:
        self.call(reports.release, pb.ReleaseTaskParam(attempt=attempt), organization)

    def run(self, id_: int, step: str, organization: str = CENTRAL) -> pb.ContainerWork:
        """Claim a step and complete it; return what its worker was told."""
        attempt, work = self.claim(id_, step, organization)
        self.complete(attempt, organization)
        return work

    def hear(self, *organizations_: str, slots: int = 1) -> None:
        """Have a node of each be heard, which reads its queue."""
        for name in organizations_:
            self.call(heartbeats.heartbeat, pb.HeartbeatParam(node="node", slots=slots), name)

    def let_in(self, **settings: Any) -> int:
        return made(waiting_gangs, self.database, **settings).sweep(self.database, datetime.now(UTC))

    def look_for_unreported(self, later: float = 0.0) -> int:
        sweep = made(unreported_runs, self.database)
        return sweep.sweep(self.database, datetime.now(UTC) + timedelta(seconds=later))

    def look_for_deserted(self, later: float = 3601.0) -> int:
        sweep = made(deserted_runs, self.database)
        return sweep.sweep(self.database, datetime.now(UTC) + timedelta(seconds=later))

    def cancel_stuck(self) -> None:
        made(stuck_tasks, self.database).sweep(self.database, datetime.now(UTC))

    def rows(self, query: str, **parameters: Any) -> list[Any]:
        with self.database.engine.begin() as connection:
            return list(connection.execute(text(query), parameters))

    def check(self) -> None:
        """Check that all rows and events agree."""
        found = [str(each) for each in stored.check(self.database, CHANNEL, timedelta(days=7))]
        assert not found, found
