"""Executions as a kind of work: what a claim hands over, what a report registers, and what follows an ending."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.core.errors import InvalidAssetError, NotFoundError
from orchestrator.core.kinds import CLINICAL_DATA_READ, EXECUTION, EXECUTION_STEP, WORKFLOW_SCHEMA
from orchestrator.engine import retries
from orchestrator.engine.kinds import Failure, Policies, Service
from orchestrator.engine.retries import FaultKind
from orchestrator.engine.tasks import Task
from orchestrator.engine.transaction import Transaction
from orchestrator.executions.runtimes import looks, shown_steps, steps, topics
from orchestrator.executions.runtimes.cleaning import Clean
from orchestrator.executions.runtimes.roles import Quiet, Role
from orchestrator.executions.runtimes.starting import Start
from orchestrator.executions.tasks.task_runs import Containers
from orchestrator.protos import execution_steps_pb2, executions_pb2, topics_pb2

_ROLES: Mapping[int, Role[Any]] = {
    pb.STEP_ROLE_START: Start(),
    pb.STEP_ROLE_END: Quiet(pb.Ended),
    pb.STEP_ROLE_CLEAN: Clean(),
    pb.STEP_ROLE_CONTAINER: Containers(),
    # Their results are nobody's: no worker runs one.
    pb.STEP_ROLE_GATE: Quiet(pb.ContainerDone),
}


class Executions:
    """Steps of executions: those of the runtime, which places workflows, and those of data partners."""

    name = steps.KIND
    asset_kind: int = EXECUTION_STEP
    own_assets: Mapping[int, type[Message]] = {
        WORKFLOW_SCHEMA: pb.WorkflowSchema,
        EXECUTION: pb.Execution,
        CLINICAL_DATA_READ: pb.ClinicalDataRead,
        EXECUTION_STEP: pb.ExecutionStep,
    }
    plan_noun = "plan of an execution"
    services: Sequence[Service] = (
        Service(
            execution_steps_pb2.DESCRIPTOR.services_by_name["ExecutionStepService"],
            {"GetSteps": shown_steps.of_execution, "GetStep": shown_steps.one},
        ),
        Service(
            executions_pb2.DESCRIPTOR.services_by_name["ExecutionService"],
            {"BeginLook": looks.begin, "EndLook": looks.end},
        ),
        Service(
            topics_pb2.DESCRIPTOR.services_by_name["TopicService"],
            {"FindOldTopics": topics.find, "ForgetTopics": topics.forget},
        ),
    )
    follows_done = True
    guards_claims = False

    def admit(self, transaction: Transaction, task: Task, node: str) -> None:
        """Let any node take any task."""

    def reads(self, transaction: Transaction, queue: str) -> bool:
        """Tell whether it is the queue of the caller's own runtimes."""
        return queue == steps.runtime_queue(transaction.organization)

    def state(self, status: int) -> bytes:
        """Return the field that says a state."""
        return steps.state(status)  # type: ignore[arg-type]

    def hand_over(self, transaction: Transaction, task: Task, answer: pb.ClaimTaskResponse) -> None:
        """Fill in what is to be done.

        Raises:
            NotFoundError: the step has ended meanwhile.
        """
        work = steps.work(transaction, task.key)
        if work is None:
            raise NotFoundError(f"step {task.key} has ended, and says no more what is to be done")
        answer.work.ParseFromString(work)
        step = steps.of(task)
        _ROLES[step.role].handed(transaction, step, answer.work)

    def returned(self, transaction: Transaction, task: Task, fault: FaultKind | None) -> None:
        """Do nothing: the next attempt follows by itself."""

    def complete(self, transaction: Transaction, task: Task, report: pb.CompleteTaskParam) -> None:
        """Register what was done.

        Raises:
            InvalidAssetError: the results are not those of such a step.
        """
        step = steps.of(task)
        role = _ROLES[step.role]
        result = role.result()
        if not report.results.Unpack(result):
            raise InvalidAssetError(f"results: {role.result.DESCRIPTOR.full_name} is expected")
        role.complete(transaction, step, result)

    def fault(self, report: pb.FailTaskParam) -> FaultKind:
        """Return what ended an attempt: EXECUTION is for good where the step says nothing else."""
        return retries.kind_of(report.error_type, report.timed_out, report.lost)

    def fail(self, transaction: Transaction, task: Task, failure: Failure) -> None:
        """Register why a step has failed for good."""
        step = steps.of(task)
        _ROLES[step.role].fail(transaction, step, failure)

    def ended(self, transaction: Transaction, task: Task) -> None:
        """Forget what its worker was told, and do what follows."""
        steps.forget(transaction, [task.key])
        step = steps.of(task)
        _ROLES[step.role].ended(transaction, task, step)

    def policies(self, transaction: Transaction, task: Task) -> Policies:  # noqa: ARG002
        """Return what the step says."""
        step = steps.of(task)
        limit = timedelta(seconds=step.time_limit_seconds) if step.time_limit_seconds else None
        return Policies(overrides=[dict(step.retries)], time_limit=limit)


KIND = Executions()
"""What the entry point names."""
