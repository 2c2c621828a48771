"""Attempts: how a worker takes a task, proves that it lives, and reports."""

import hashlib
import secrets
from datetime import timedelta
from uuid import UUID

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.core import states, validation
from orchestrator.core.errors import BadRequestError, IncompatibleStatusError
from orchestrator.core.validation import parse_key
from orchestrator.services import failure_reports, models, performances, profiling, results, task_inputs, transitions
from orchestrator.store import attempts
from orchestrator.store import tasks as stored_tasks
from orchestrator.store.database import Transaction

LEASE = timedelta(seconds=60)
"""How long an attempt is believed to live without a heartbeat."""

_TOKEN_BYTES = 32


def claim(transaction: Transaction, asked: pb.ClaimTaskParam) -> pb.ClaimTaskResponse:
    """Give a task To do to the calling worker, with all that it needs to run it.

    Raises:
        IncompatibleStatusError: it is not To do, or another attempt of it is due.
    """
    key = parse_key(asked.compute_task_key, "compute_task_key")
    validation.check_text(asked.node, "node")
    validation.check_text(asked.claim_id, "claim_id", least=1)
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    started = stored_tasks.start(
        transaction,
        key,
        attempt=asked.attempt,
        node=asked.node,
        claim_id=asked.claim_id,
        token_hash=_digest(token),
        lease=LEASE,
    )
    if started is not None:
        task, number = started.task, started.attempts
        reason = f"attempt {number} claimed by {asked.node or transaction.organization}"
        transaction.events.updated(task.key, task, reason)
    else:
        number = _claimed_before(transaction, key, asked, token)
        task = stored_tasks.get(transaction, key)
    function = results.function_of(transaction, task)
    return pb.ClaimTaskResponse(
        attempt=pb.Attempt(compute_task_key=task.key, number=number, token=token),
        task=task,
        function=function,
        input_assets=task_inputs.resolve(transaction, task, function),
        lease=_duration(LEASE),
    )


def _claimed_before(transaction: Transaction, key: UUID, asked: pb.ClaimTaskParam, token: str) -> int:
    number = attempts.repeat_claim(transaction, key, asked.claim_id, _digest(token), LEASE)
    if number is not None:
        return number
    task = _own_task(transaction, key)
    if task.status == pb.STATUS_WAITING_FOR_EXECUTOR_SLOT:
        raise IncompatibleStatusError(f"task {key}: attempt {asked.attempt} is not the one that is due")
    raise IncompatibleStatusError(f"task {key} is {states.TASK_WORDS[task.status]}, not To do")


def heartbeat(transaction: Transaction, asked: pb.HeartbeatParam) -> pb.HeartbeatResponse:
    """Renew the leases of a node's attempts, and tell which of them must stop."""
    held = [
        (parse_key(attempt.compute_task_key, "compute_task_key"), attempt.number, _digest(attempt.token))
        for attempt in asked.attempts
    ]
    alive = attempts.renew(transaction, held, LEASE) if held else set()
    lost = [(key, number) for key, number, _ in held if (key, number) not in alive]
    found = stored_tasks.get_many(transaction, [key for key, _ in lost])
    stops = []
    for key, number in lost:
        task = found.get(str(key))
        reason = f"the task is {states.TASK_WORDS[task.status]}" if task else "the task does not exist"
        stops.append(pb.StopOrder(compute_task_key=str(key), number=number, reason=reason))
    return pb.HeartbeatResponse(lease=_duration(LEASE), stops=stops)


def complete(transaction: Transaction, asked: pb.CompleteTaskParam) -> pb.CompleteTaskResponse:
    """Register the results of an attempt and make its task Done.

    Raises:
        IncompatibleStatusError: the attempt does not hold the task.
        OrchestratorError: the contract's error for a result that does not fit the task; nothing is kept.
    """
    key = parse_key(asked.attempt.compute_task_key, "compute_task_key")
    for model in asked.models:
        validation.check_model(model)
    for performance in asked.performances:
        validation.check_performance(performance)
    named = {new.compute_task_key.lower() for new in asked.models}
    named |= {new.compute_task_key.lower() for new in asked.performances}
    if named - {str(key)}:
        raise BadRequestError(f"the results name another task than the attempt, {key}")

    def register(task: pb.ComputeTask) -> None:
        if asked.models or asked.performances:
            function = results.function_of(transaction, task)
            models.add(transaction, task, function, asked.models)
            performances.add(transaction, task, function, asked.performances)
        for step in asked.profiling_steps:
            profiling.register(transaction, step)

    completed = transitions.complete(
        transaction,
        key,
        f"attempt {asked.attempt.number} completed",
        token_hash=_digest(asked.attempt.token),
        report_hash=_report_hash(asked),
        register=register,
    )
    if not completed:
        _check_reported_before(transaction, asked.attempt, asked)
    return pb.CompleteTaskResponse()


def fail(transaction: Transaction, asked: pb.FailTaskParam) -> pb.FailTaskResponse:
    """Register why an attempt failed and make its task Failed.

    Raises:
        IncompatibleStatusError: the attempt does not hold the task.
    """
    key = parse_key(asked.attempt.compute_task_key, "compute_task_key")
    report = pb.NewFailureReport(
        asset_key=str(key),
        error_type=asked.error_type,
        logs_address=asked.logs_address if asked.HasField("logs_address") else None,
        asset_type=pb.FAILED_ASSET_COMPUTE_TASK,
    )
    validation.check_failure_report(report)
    task = _own_task(transaction, key)
    stopped = transitions.stop(
        transaction,
        task,
        pb.STATUS_FAILED,
        f"attempt {asked.attempt.number}: {pb.ErrorType.Name(asked.error_type)}",
        token_hash=_digest(asked.attempt.token),
        error_type=asked.error_type,
        report_hash=_report_hash(asked),
        register=lambda _: failure_reports.add(transaction, report),
    )
    if not stopped:
        _check_reported_before(transaction, asked.attempt, asked)
    return pb.FailTaskResponse()


def _own_task(transaction: Transaction, key: UUID) -> pb.ComputeTask:
    task = stored_tasks.get(transaction, key)
    transitions.check_worker(transaction, task)
    return task


def _check_reported_before(transaction: Transaction, attempt: pb.Attempt, report: Message) -> None:
    """Check that this very report is the one that ended the attempt.

    Raises:
        IncompatibleStatusError: the attempt has ended in another way, does not exist, or is not the reporter's.
    """
    _own_task(transaction, UUID(attempt.compute_task_key))
    row = attempts.find(transaction, UUID(attempt.compute_task_key), attempt.number)
    if (
        row is None
        or row.token_hash is None
        or row.ended_at is None
        or not secrets.compare_digest(row.token_hash, _digest(attempt.token))
        or row.report_hash != _report_hash(report)
    ):
        raise IncompatibleStatusError(
            f"attempt {attempt.number} does not hold task {attempt.compute_task_key} (any more): "
            "it has ended, or another one runs; its results are refused"
        )


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _report_hash(report: Message) -> bytes:
    return hashlib.sha256(report.SerializeToString(deterministic=True)).digest()


def _duration(length: timedelta) -> Duration:
    converted = Duration()
    converted.FromTimedelta(length)
    return converted
