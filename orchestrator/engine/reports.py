"""Reports: how an attempt tells that it is complete, has failed, or is given back, whatever its kind of work."""

import hashlib
import secrets
from datetime import timedelta
from uuid import UUID

from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.core import fields
from orchestrator.core.errors import IncompatibleStatusError
from orchestrator.core.fields import parse_key
from orchestrator.core.timestamps import duration
from orchestrator.engine import attempts, completions, endings, kinds, retrying, tasks
from orchestrator.engine.completions import Completion
from orchestrator.engine.kinds import Failure
from orchestrator.engine.tasks import Task
from orchestrator.engine.transaction import Transaction
from orchestrator.store.connection import Row

_LONGEST_REASON = 1000


def complete(transaction: Transaction, asked: pb.CompleteTaskParam) -> pb.CompleteTaskResponse:
    """Register the results of an attempt and make its task Done.

    Raises:
        IncompatibleStatusError: the attempt does not hold the task.
        OrchestratorError: a result does not fit the task; nothing is kept.
    """
    if not completions.complete_by_attempt(transaction, completion(transaction, asked)):
        _check_reported_before(transaction, asked.attempt, asked)
    return pb.CompleteTaskResponse()


def completion(transaction: Transaction, asked: pb.CompleteTaskParam) -> Completion:
    """Return what a worker reports of an attempt that is complete.

    Raises:
        OrchestratorError: it names no task.
    """
    return Completion(
        key=parse_key(asked.attempt.compute_task_key, "compute_task_key"),
        reason=f"attempt {asked.attempt.number} completed",
        token_hash=attempts.digest(asked.attempt.token),
        report_hash=_report_hash(asked),
        register=lambda task: kinds.of(task.kind).complete(transaction, task, asked),
    )


def fail(transaction: Transaction, asked: pb.FailTaskParam) -> pb.FailTaskResponse:
    """Note why an attempt failed: its task is tried again if its retry policy says so, else it is Failed.

    Raises:
        IncompatibleStatusError: the attempt does not hold the task.
        OrchestratorError: the report is none; nothing is kept.
    """
    key = parse_key(asked.attempt.compute_task_key, "compute_task_key")
    fields.check_text(asked.reason, "reason", most=_LONGEST_REASON)
    task = _own_task(transaction, key)
    kind = kinds.of(task.kind)
    fault = kind.fault(asked)
    pause = retrying.pause_after(transaction, task, fault)
    if pause is not None:
        retried = retrying.retry(
            transaction,
            key,
            asked.attempt.number,
            attempts.digest(asked.attempt.token),
            pause=pause,
            fault=fault,
            report_hash=_report_hash(asked),
            reason=asked.reason,
        )
        return pb.FailTaskResponse(retry_after=duration(pause)) if retried else _failed_before(transaction, asked)
    error = f"{pb.ErrorType.Name(asked.error_type).removeprefix('ERROR_TYPE_')} error"
    failed = endings.fail_by_attempt(
        transaction,
        task,
        f"attempt {asked.attempt.number}: {': '.join(filter(None, (error, asked.reason)))}",
        token_hash=attempts.digest(asked.attempt.token),
        fault=fault,
        report_hash=_report_hash(asked),
        register=lambda ended: kind.fail(transaction, ended, Failure(fault, asked)),
    )
    return pb.FailTaskResponse() if failed else _failed_before(transaction, asked)


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
        attempts.digest(asked.attempt.token),
        pause=None,
        fault=None,
        report_hash=_report_hash(asked),
        reason=asked.reason,
    )
    if not released:
        _check_reported_before(transaction, asked.attempt, asked)
    return pb.ReleaseTaskResponse()


def _own_task(transaction: Transaction, key: UUID) -> Task:
    task = tasks.get(transaction, key)
    tasks.check_worker(transaction, task)
    return task


def _check_reported_before(transaction: Transaction, attempt: pb.Attempt, report: Message) -> Row:
    """Check that this very report is the one that ended the attempt; return the attempt's row.

    Raises:
        IncompatibleStatusError: the attempt has ended in another way, does not exist, or is not the reporter's.
    """
    key = UUID(attempt.compute_task_key)
    _own_task(transaction, key)
    row = attempts.find(transaction, key, attempt.number)
    if (
        row is None
        or row.token_hash is None
        or row.ended_at is None
        or not secrets.compare_digest(row.token_hash, attempts.digest(attempt.token))
        or row.report_hash != _report_hash(report)
    ):
        raise IncompatibleStatusError(
            f"attempt {attempt.number} does not hold task {attempt.compute_task_key} (any more): "
            "it has ended, or another one runs; its results are refused"
        )
    return row


def _report_hash(report: Message) -> bytes:
    return hashlib.sha256(report.SerializeToString(deterministic=True)).digest()
