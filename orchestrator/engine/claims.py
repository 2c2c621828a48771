"""Claims: how a worker takes a task To do, whatever its kind."""

import secrets
from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from google.protobuf.duration_pb2 import Duration

from orchestrator import protos as pb
from orchestrator.core import fields
from orchestrator.core.errors import IncompatibleStatusError
from orchestrator.core.fields import parse_key
from orchestrator.core.timestamps import duration
from orchestrator.engine import attempts, kinds, starts, tasks
from orchestrator.engine.kinds import Policies
from orchestrator.engine.starts import Claim
from orchestrator.engine.tasks import Task
from orchestrator.engine.transaction import Transaction

_TOKEN_BYTES = 32
_SHORTEST_LIMIT = timedelta(seconds=1)


def claim(transaction: Transaction, asked: pb.ClaimTaskParam) -> pb.ClaimTaskResponse:
    """Give a task To do to the calling worker, with all that it needs to run it.

    Raises:
        IncompatibleStatusError: it is not To do, or another attempt of it is due.
    """
    token = new_token()
    claimed = checked(asked, token)
    task = starts.start(transaction, claimed)
    if task is None and _admitted(transaction, claimed.key, asked.node):
        task = starts.start(transaction, claimed, admitted=True)
    if task is not None:
        return answer(transaction, task, task.attempts, token)
    number = _claimed_before(transaction, asked, claimed.key, attempts.digest(token))
    return answer(transaction, tasks.get(transaction, claimed.key), number, token)


def claim_agreed(
    transaction: Transaction, asked: pb.ClaimTaskParam, agreed: Collection[tuple[UUID, str]]
) -> pb.ClaimTaskResponse | None:
    """Do the same where the task requires what is agreed; return None where nothing was begun, whatever the reason.

    Args:
        transaction: of the worker.
        asked: what it claims.
        agreed: what the task may require, each with the owner that it may have.
    """
    token = new_token()
    task = starts.start(transaction, checked(asked, token, agreed))
    return None if task is None else answer(transaction, task, task.attempts, token)


def new_token() -> str:
    """Return a token for an attempt."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def checked(asked: pb.ClaimTaskParam, token: str, agreed: Collection[tuple[UUID, str]] | None = None) -> Claim:
    """Return what a worker claims.

    Args:
        asked: as it says so.
        token: of the attempt, where it is begun.
        agreed: what the task may require, see `starts.Claim`.

    Raises:
        OrchestratorError: it makes no sense.
    """
    key = parse_key(asked.compute_task_key, "compute_task_key")
    fields.check_text(asked.node, "node")
    fields.check_text(asked.claim_id, "claim_id", least=1)
    return Claim(key, asked.attempt, asked.node, asked.claim_id, attempts.digest(token), agreed=agreed)


def answer(transaction: Transaction, task: Task, number: int, token: str) -> pb.ClaimTaskResponse:
    """Return what a worker needs to run an attempt.

    Args:
        transaction: of the worker.
        task: that it has claimed.
        number: of the attempt.
        token: of the attempt.
    """
    kind = kinds.of(task.kind)
    answer = pb.ClaimTaskResponse(
        attempt=pb.Attempt(compute_task_key=str(task.key), number=number, token=token),
        lease=duration(transaction.rules.lease),
        time_limit=_time_limit(transaction, kind.policies(transaction, task)),
    )
    kind.hand_over(transaction, task, answer)
    return answer


def _admitted(transaction: Transaction, key: UUID, node: str) -> bool:
    """Ask the kind of a task To do that is the caller's to let it start, where that kind guards its claims.

    Raises:
        OrchestratorError: it may not start.
    """
    if not any(kind.guards_claims for kind in kinds.every()):
        return False
    task = tasks.get_many(transaction, [key]).get(key)
    if task is None or task.worker != transaction.organization or task.status != pb.STATUS_WAITING_FOR_EXECUTOR_SLOT:
        return False
    kind = kinds.of(task.kind)
    if not kind.guards_claims:
        return False
    kind.admit(transaction, task, node)
    return True


def _time_limit(transaction: Transaction, policies: Policies) -> Duration | None:
    """Return how long the task may run: its own limit, and what is left of its plan's, whichever is less."""
    limits = [policies.time_limit] if policies.time_limit else []
    if policies.ends_at:
        limits.append(max(policies.ends_at - transaction.now, _SHORTEST_LIMIT))
    return duration(min(limits)) if limits else None


def _claimed_before(transaction: Transaction, asked: pb.ClaimTaskParam, key: UUID, token_hash: bytes) -> int:
    number = attempts.repeat_claim(transaction, key, asked.claim_id, token_hash, transaction.rules.lease)
    if number is not None:
        return number
    task = tasks.get(transaction, key)
    tasks.check_worker(transaction, task)
    kinds.of(task.kind)
    if task.status == pb.STATUS_WAITING_FOR_EXECUTOR_SLOT:
        raise IncompatibleStatusError(
            f"task {key}: attempt {asked.attempt} is not due; another one is, or the pause before it is not over"
        )
    raise IncompatibleStatusError(f"task {key} is {task.word}, not To do")
