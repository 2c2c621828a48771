"""Problems as a kind of work: what a claim hands over, what a report keeps, and what follows an ending."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.core.errors import InvalidAssetError
from orchestrator.core.kinds import STAGE_TASK
from orchestrator.engine import retries
from orchestrator.engine.kinds import Failure, Policies, Service
from orchestrator.engine.retries import FaultKind
from orchestrator.engine.tasks import Task
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import (
    deployments,
    finishing,
    graph,
    handing,
    iterations,
    modules,
    preempting,
    registering,
    reporting,
    settings,
    stages,
    told,
)
from orchestrator.protos import module_pb2

_LOST = "its module was lost, again and again"
_CODES = {FaultKind.LOST: pb.STAGE_ERROR_LOST, FaultKind.TIMEOUT: pb.STAGE_ERROR_TIMEOUT}


class Problems:
    """Stages of iterations, which modules run."""

    name = stages.KIND
    asset_kind: int = STAGE_TASK
    own_assets: Mapping[int, type[Message]] = {STAGE_TASK: pb.StageTask, **told.TYPES}
    plan_noun = "run of an iteration"
    services: Sequence[Service] = (
        Service(
            module_pb2.DESCRIPTOR.services_by_name["ModuleService"],
            {"RegisterModule": registering.register, "ReportModule": registering.report},
            gathered={"CompleteStage": reporting.complete, "FailStage": reporting.fail},
            parted={"GetStageInputs": handing.inputs_of},
            of_workers=True,
        ),
    )
    follows_done = True
    guards_claims = True

    def __init__(self) -> None:
        # A setting that is not as it should be is said once, when the process starts, and leaves the kind out.
        settings.current()

    def reads(self, transaction: Transaction, queue: str) -> bool:
        """Tell whether it is a queue of a deployment of the caller."""
        return deployments.reads(transaction, queue)

    def admit(self, transaction: Transaction, task: Task, node: str) -> None:
        """Check that a module takes work.

        Raises:
            IncompatibleStatusError: it is not known, stopped, set aside or about to end; or its kind is stopped.
        """
        modules.check_accepting(transaction, task, node)
        preempting.check_turn(transaction, task)

    def state(self, status: int) -> bytes:
        """Return the field that says a state."""
        return stages.state(status)  # type: ignore[arg-type]

    def hand_over(self, transaction: Transaction, task: Task, answer: pb.ClaimTaskResponse) -> None:
        """Say which stage it is, and note who runs it."""
        answer.work.Pack(handing.work(task))
        stage = stages.of_task(task)
        replica = modules.running(transaction, task)
        if replica is not None and stages.begin(transaction, task, replica):
            iterations.begin(transaction, stage.deployment, stage.task_id)
            modules.began(transaction, stage.deployment, stage.kind, replica)

    def returned(self, transaction: Transaction, task: Task, fault: FaultKind | None) -> None:
        """Note that a stage waits again, and that its module runs it no more."""
        stage = stages.of_task(task)
        row = stages.by_task(transaction, task.key)
        stages.requeue(transaction, task.key)
        if row is not None:
            stages.tell(transaction, stage, pb.STAGE_WAITING, row.attempt, row.replica)
            modules.left(transaction, stage, row.replica, failed=fault not in (None, FaultKind.LOST))

    def complete(self, transaction: Transaction, task: Task, report: pb.CompleteTaskParam) -> None:
        """Keep what was made.

        Raises:
            InvalidAssetError: it is not of the type of its kind; CompleteStage fails the stage then.
        """
        output = graph.output_of(stages.of_task(task).kind)()
        if not report.results.Unpack(output):
            raise InvalidAssetError(f"results: {output.DESCRIPTOR.full_name} is expected")
        finishing.keep(transaction, task, output)

    def fault(self, report: pb.FailTaskParam) -> FaultKind:
        """Return what ended an attempt."""
        return retries.kind_of(report.error_type, report.timed_out, report.lost)

    def fail(self, transaction: Transaction, task: Task, failure: Failure) -> None:
        """Keep why a stage has failed for good."""
        said, output = pb.StageFailure(), None
        if failure.report is not None and failure.report.details.Unpack(said) and said.output:
            output = graph.output_of(stages.of_task(task).kind).FromString(said.output)
        reason = said.message or (failure.report.reason if failure.report else "") or _LOST
        code = said.code or _CODES.get(failure.fault, pb.STAGE_ERROR_EXCEPTION)
        finishing.keep_failure(transaction, task, pb.StageError(code=code, message=reason), output)

    def ended(self, transaction: Transaction, task: Task) -> None:
        """Do what follows for the iteration, and for the module that ran it."""
        stage = stages.of_task(task)
        row = stages.by_task(transaction, task.key)
        if task.status == pb.STATUS_DONE:
            finishing.follow_done(transaction, task)
        elif task.status == pb.STATUS_FAILED:
            finishing.follow_failed(transaction, task)
        else:
            stages.finish(transaction, stage, pb.STAGE_STOPPED)
        if row is not None and row.replica is not None:
            modules.left(
                transaction,
                stage,
                row.replica,
                failed=row.state == pb.STAGE_ERROR,
                succeeded=task.status == pb.STATUS_DONE,
            )

    def policies(self, transaction: Transaction, task: Task) -> Policies:  # noqa: ARG002
        """Return how often a stage is tried, and how long it may run."""
        said = settings.current()
        retried = {
            "orchestrator.retry.execution.attempts": str(said.problems_attempts),
            "orchestrator.retry.internal.attempts": str(said.problems_lost_attempts),
            "orchestrator.retry.timeout.attempts": str(said.problems_timeout_attempts),
            "orchestrator.retry.lost.attempts": str(said.problems_lost_attempts),
            "orchestrator.retry.backoff": "0.1",
            "orchestrator.retry.cap": "5",
        }
        limit = said.hard_limit(stages.of_task(task).kind)
        return Policies(overrides=[retried], time_limit=timedelta(seconds=limit))


KIND = Problems()
"""What the entry point names."""
