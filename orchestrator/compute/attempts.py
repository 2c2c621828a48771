"""Attempts: how a worker takes a task, proves that it lives, and reports."""

import hashlib
import secrets
from datetime import UTC, timedelta
from typing import Any
from uuid import UUID

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from sqlalchemy import Row

from orchestrator import protos as pb
from orchestrator.compute import (
    endings,
    failure_reports,
    models,
    performances,
    profiling,
    results,
    retrying,
    task_inputs,
    validation,
)
from orchestrator.compute.assets import compute_plans
from orchestrator.core import fields, states
from orchestrator.core.errors import BadRequestError, IncompatibleStatusError
from orchestrator.core.fields import parse_key
from orchestrator.core.timestamps import duration
from orchestrator.engine import attempts, nodes, queues, retries, tasks, transitions
from orchestrator.engine.transaction import Transaction

_TOKEN_BYTES = 32
_SHORTEST_LIMIT = timedelta(seconds=1)
_LONGEST_REASON = 1000


def claim(transaction: Transaction, asked: pb.ClaimTaskParam) -> pb.ClaimTaskResponse:
    """Give a task To do to the calling worker, with all that it needs to run it.

    Raises:
        IncompatibleStatusError: it is not To do, or another attempt of it is due.
    """
    key = parse_key(asked.compute_task_key, "compute_task_key")
    fields.check_text(asked.node, "node")
    fields.check_text(asked.claim_id, "claim_id", least=1)
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    started = transitions.start(
        transaction,
        key,
        attempt=asked.attempt,
        node=asked.node,
        claim_id=asked.claim_id,
        token_hash=_digest(token),
        lease=transaction.rules.lease,
    )
    if started is not None:
        task, number = started.task, started.attempts
        reason = f"attempt {number} claimed by {asked.node or transaction.organization}"
        transaction.events.updated(task.key, task, reason)
    else:
        number = _claimed_before(transaction, key, asked, token)
        task = tasks.get(transaction, key)
    function = results.function_of(transaction, task)
    return pb.ClaimTaskResponse(
        attempt=pb.Attempt(compute_task_key=task.key, number=number, token=token),
        task=task,
        function=function,
        input_assets=task_inputs.resolve(transaction, task, function),
        lease=duration(transaction.rules.lease),
        time_limit=_time_limit(transaction, task),
    )


def _time_limit(transaction: Transaction, task: pb.ComputeTask) -> Duration | None:
    """Return how long the task may run: its own limit, and what is left of its plan's, whichever is less."""
    limits = []
    if own := retries.time_limit(task.metadata):
        limits.append(own)
    plan = compute_plans.get(transaction, UUID(task.compute_plan_key))
    if whole := retries.time_limit(plan.metadata):
        left = plan.creation_date.ToDatetime(UTC) + whole - transaction.now
        limits.append(max(left, _SHORTEST_LIMIT))
    return duration(min(limits)) if limits else None


def _claimed_before(transaction: Transaction, key: UUID, asked: pb.ClaimTaskParam, token: str) -> int:
    number = attempts.repeat_claim(transaction, key, asked.claim_id, _digest(token), transaction.rules.lease)
    if number is not None:
        return number
    task = _own_task(transaction, key)
    if task.status == pb.STATUS_WAITING_FOR_EXECUTOR_SLOT:
        raise IncompatibleStatusError(
            f"task {key}: attempt {asked.attempt} is not due; another one is, or the pause before it is not over"
        )
    raise IncompatibleStatusError(f"task {key} is {states.TASK_WORDS[task.status]}, not To do")


def heartbeat(transaction: Transaction, asked: pb.HeartbeatParam) -> pb.HeartbeatResponse:
    """Renew the leases of a node's attempts, and tell which of them must stop.

    An attempt of another organization, or of another channel, is treated as one of a task that does not exist.
    """
    fields.check_text(asked.node, "node")
    held = [_named(attempt) for attempt in asked.attempts]
    nodes.hear(transaction, asked.node, len(held))
    alive = attempts.renew(transaction, held, transaction.rules.lease) if held else set()
    ended = [named for named in held if named[:2] not in alive]
    attempts.receive(transaction, ended, stopped=False)
    attempts.receive(transaction, [_named(attempt) for attempt in asked.stopped], stopped=True)
    lost = [(key, number) for key, number, _ in ended]
    found = tasks.get_many(transaction, [key for key, _ in lost])
    stops = []
    for key, number in lost:
        task = found.get(str(key))
        ours = task is not None and task.worker == transaction.organization
        reason = f"the task is {states.TASK_WORDS[task.status]}" if task and ours else "the task does not exist"
        stops.append(pb.StopOrder(compute_task_key=str(key), number=number, reason=reason))
    queues.hear(transaction)
    return pb.HeartbeatResponse(lease=duration(transaction.rules.lease), stops=stops)


def _named(attempt: pb.Attempt) -> tuple[UUID, int, bytes]:
    return parse_key(attempt.compute_task_key, "compute_task_key"), attempt.number, _digest(attempt.token)


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
            profiling.add(transaction, task, step)

    completed = endings.complete(
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
    """Note why an attempt failed: its task is tried again if its retry policy says so, else it is Failed with a report.

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
    fields.check_text(asked.reason, "reason", most=_LONGEST_REASON)
    task = _own_task(transaction, key)
    kind = retries.kind_of(asked.error_type, asked.timed_out, asked.lost)
    pause = retrying.pause_after(transaction, task, kind)
    if pause is not None:
        retried = retrying.retry(
            transaction,
            key,
            asked.attempt.number,
            _digest(asked.attempt.token),
            pause,
            kind,
            report_hash=_report_hash(asked),
            reason=asked.reason,
        )
        return pb.FailTaskResponse(retry_after=duration(pause)) if retried else _failed_before(transaction, asked)
    error_type = pb.ErrorType.Name(asked.error_type)
    stopped = endings.stop(
        transaction,
        task,
        pb.STATUS_FAILED,
        f"attempt {asked.attempt.number}: {': '.join(filter(None, (error_type, asked.reason)))}",
        token_hash=_digest(asked.attempt.token),
        fault=kind,
        report_hash=_report_hash(asked),
        register=lambda _: failure_reports.add(transaction, report),
    )
    return pb.FailTaskResponse() if stopped else _failed_before(transaction, asked)


def _failed_before(transaction: Transaction, asked: pb.FailTaskParam) -> pb.FailTaskResponse:
    """Answer a report that was given before; of the pause, what is left."""
    row = _check_reported_before(transaction, asked.attempt, asked)
    if row.outcome != pb.STATUS_WAITING_FOR_EXECUTOR_SLOT:
        return pb.FailTaskResponse()
    left = row.due_at - transaction.now if row.due_at else timedelta()
    return pb.FailTaskResponse(retry_after=duration(max(left, timedelta())))


def release(transaction: Transaction, asked: pb.ReleaseTaskParam) -> pb.ReleaseTaskResponse:
    """Make the task of an attempt whose worker stops To do again, at once.

    Raises:
        IncompatibleStatusError: the attempt does not hold the task.
    """
    key = parse_key(asked.attempt.compute_task_key, "compute_task_key")
    _own_task(transaction, key)
    released = retrying.retry(
        transaction,
        key,
        asked.attempt.number,
        _digest(asked.attempt.token),
        None,
        None,
        report_hash=_report_hash(asked),
        reason=asked.reason,
    )
    if not released:
        _check_reported_before(transaction, asked.attempt, asked)
    return pb.ReleaseTaskResponse()


def _own_task(transaction: Transaction, key: UUID) -> pb.ComputeTask:
    task = tasks.get(transaction, key)
    endings.check_worker(transaction, task)
    return task


def _check_reported_before(transaction: Transaction, attempt: pb.Attempt, report: Message) -> Row[Any]:
    """Check that this very report is the one that ended the attempt; return the attempt's row.

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
    return row


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _report_hash(report: Message) -> bytes:
    return hashlib.sha256(report.SerializeToString(deterministic=True)).digest()
