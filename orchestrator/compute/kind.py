"""Compute as a kind of work: what a claim hands over, what a report registers, and what follows an ending."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.compute import (
    definitions,
    failure_reports,
    models,
    performances,
    plans,
    profiling,
    results,
    task_inputs,
    validation,
)
from orchestrator.compute import tasks as compute_tasks
from orchestrator.core.errors import BadRequestError
from orchestrator.engine import retries
from orchestrator.engine.kinds import Failure, Policies, Service
from orchestrator.engine.retries import FaultKind
from orchestrator.engine.tasks import Task
from orchestrator.engine.transaction import Transaction


class Compute:
    """The contract of the Substra ecosystem: train, aggregate, predict and test tasks over organizations' data."""

    name = compute_tasks.KIND
    asset_kind: int = pb.ASSET_COMPUTE_TASK
    own_assets: Mapping[int, type[Message]] = {}
    plan_noun = "compute plan"
    services: Sequence[Service] = ()
    follows_done = False
    guards_claims = False

    def admit(self, transaction: Transaction, task: Task, node: str) -> None:
        """Let any node take any task."""

    def reads(self, transaction: Transaction, queue: str) -> bool:  # noqa: ARG002
        """Say no: its queues are those of organizations."""
        return False

    def state(self, status: int) -> bytes:
        """Return the field that says a state."""
        return compute_tasks.state(status)

    def hand_over(self, transaction: Transaction, task: Task, answer: pb.ClaimTaskResponse) -> None:
        """Fill in the task, its function, and its inputs resolved to assets."""
        message = compute_tasks.to_message(task)
        function = results.function_of(transaction, message)
        answer.task.CopyFrom(message)
        answer.function.CopyFrom(function)
        answer.input_assets.extend(task_inputs.resolve(transaction, message, function))

    def returned(self, transaction: Transaction, task: Task, fault: FaultKind | None) -> None:
        """Do nothing: the next attempt follows by itself."""

    def complete(self, transaction: Transaction, task: Task, report: pb.CompleteTaskParam) -> None:
        """Register models, performances and profiling steps.

        Raises:
            OrchestratorError: the contract's error for a result that does not fit the task.
        """
        message = compute_tasks.to_message(task)
        for model in report.models:
            validation.check_model(model)
        for performance in report.performances:
            validation.check_performance(performance)
        named = {new.compute_task_key.lower() for new in report.models}
        named |= {new.compute_task_key.lower() for new in report.performances}
        if named - {message.key}:
            raise BadRequestError(f"the results name another task than the attempt, {message.key}")
        if named:
            outputs = definitions.outputs(transaction, UUID(message.function_key))
            models.add(transaction, message, outputs, report.models)
            performances.add(transaction, message, outputs, report.performances)
        for step in report.profiling_steps:
            profiling.add(transaction, message, step)

    def fault(self, report: pb.FailTaskParam) -> FaultKind:
        """Return what ended an attempt.

        Raises:
            InvalidAssetError: the report would make no failure report.
        """
        validation.check_failure_report(_failure_report(report))
        return retries.kind_of(report.error_type, report.timed_out, report.lost)

    def fail(self, transaction: Transaction, task: Task, failure: Failure) -> None:
        """Keep a failure report; of a lost worker an internal error."""
        lost = pb.FailTaskParam(
            attempt=pb.Attempt(compute_task_key=str(task.key)), error_type=pb.ERROR_TYPE_INTERNAL, lost=True
        )
        failure_reports.add(transaction, _failure_report(failure.report or lost), task.worker)

    def ended(self, transaction: Transaction, task: Task) -> None:
        """End the compute plan at the first task that fails."""
        if task.status == pb.STATUS_FAILED:
            plans.fail(transaction, task.plan)

    def policies(self, transaction: Transaction, task: Task) -> Policies:
        """Return what the metadata of a task and of its compute plan say."""
        metadata = compute_tasks.to_message(task).metadata
        plan = definitions.plan(transaction, task.plan)
        whole = retries.time_limit(plan.metadata)
        return Policies(
            overrides=(metadata, plan.metadata),
            ends_at=plan.created_at + whole if whole else None,
            time_limit=retries.time_limit(metadata),
        )


def _failure_report(report: pb.FailTaskParam) -> pb.NewFailureReport:
    return pb.NewFailureReport(
        asset_key=report.attempt.compute_task_key,
        error_type=report.error_type,
        logs_address=report.logs_address if report.HasField("logs_address") else None,
        asset_type=pb.FAILED_ASSET_COMPUTE_TASK,
    )


KIND = Compute()
"""What the entry point names."""
