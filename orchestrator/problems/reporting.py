"""Reports of stages: an output that fits completes its stage, one that does not fails it."""

from collections.abc import Iterable

from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.core.fields import parse_key
from orchestrator.engine import reports, tasks
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import finishing, handing, outputs, stages

_LONGEST = 4000


def complete(transaction: Transaction, parts: Iterable[pb.StagePart]) -> pb.CompleteStageResponse:
    """Keep the output of an attempt; say why where it does not fit, and the stage has failed.

    Raises:
        IncompatibleStatusError: the attempt does not hold its stage.
    """
    first, data = handing.joined(iter(parts))
    report = pb.CompleteTaskParam(attempt=first.attempt)
    kind = _kind_of(transaction, first.attempt)
    output: Message | pb.StageError | None = None if kind is None else outputs.read(kind, data)
    error: pb.StageError | None = None
    if isinstance(output, pb.StageError):
        error = output
    elif output is not None:
        error = finishing.in_band_error(output)
    if error is not None:
        kept = b"" if isinstance(output, pb.StageError) else data
        _fail(transaction, first.attempt, error, kept)
        return pb.CompleteStageResponse(error=error)
    if output is not None:
        report.results.Pack(output)
    reports.complete(transaction, report)
    return pb.CompleteStageResponse()


def fail(transaction: Transaction, parts: Iterable[pb.StagePart]) -> pb.FailTaskResponse:
    """Note why an attempt failed, and keep what it had written.

    Raises:
        IncompatibleStatusError: the attempt does not hold its stage.
    """
    first, data = handing.joined(iter(parts))
    said = first.failure
    message = said.message
    kind = _kind_of(transaction, first.attempt)
    output = outputs.read(kind, data) if kind is not None and data else None
    fits = output is not None and not isinstance(output, pb.StageError)
    if said.code == pb.STAGE_ERROR_NODE_ERROR and not message:
        written = outputs.error_of(output if fits else None)
        message = written or "the module reported an error"
    error = pb.StageError(code=said.code, message=message[:_LONGEST])
    return _fail(transaction, first.attempt, error, data if fits else b"")


def _fail(transaction: Transaction, attempt: pb.Attempt, error: pb.StageError, output: bytes) -> pb.FailTaskResponse:
    report = pb.FailTaskParam(
        attempt=attempt,
        error_type=pb.ERROR_TYPE_EXECUTION,
        timed_out=error.code == pb.STAGE_ERROR_TIMEOUT,
        lost=error.code == pb.STAGE_ERROR_LOST,
        reason=pb.StageErrorCode.Name(error.code).removeprefix("STAGE_ERROR_"),
    )
    report.details.Pack(pb.StageFailure(code=error.code, message=error.message, output=output))
    return reports.fail(transaction, report)


def _kind_of(transaction: Transaction, attempt: pb.Attempt) -> int | None:
    """Return the kind of the stage of an attempt of the caller."""
    task = tasks.get(transaction, parse_key(attempt.compute_task_key, "compute_task_key"))
    tasks.check_worker(transaction, task)
    return stages.of_task(task).kind if task.kind == stages.KIND else None
