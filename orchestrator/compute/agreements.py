"""Claims of tasks whose function the worker has consented to already: others it is asked about first."""

from collections.abc import Mapping
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute import results, tasks
from orchestrator.core.errors import BadRequestError
from orchestrator.core.fields import parse_key
from orchestrator.engine import batches, claims
from orchestrator.engine.starts import Claim
from orchestrator.engine.together import Asked
from orchestrator.engine.transaction import Transaction

_MOST = 100


def claim(transaction: Transaction, asked: pb.ClaimAgreedParam) -> pb.ClaimAgreedResponse:
    """Give a task to the calling worker if its function, in plans of its owner, is agreed; else say what it asks.

    Raises:
        BadRequestError: too much is agreed, or a key is none.
        NotFoundError: the channel has no such task, or it is of another kind of work.
        IncompatibleStatusError: it is agreed, and not To do, or another attempt of it is due.
    """
    agreed = _agreed(asked)
    if agreed and (claimed := claims.claim_agreed(transaction, asked.claim, agreed)):
        return pb.ClaimAgreedResponse(claimed=claimed)
    task = tasks.get(transaction, parse_key(asked.claim.compute_task_key, "compute_task_key"))
    if task.worker == transaction.organization and (UUID(task.function_key), task.owner) in agreed:
        # It was claimed before, or cannot be.
        return pb.ClaimAgreedResponse(claimed=claims.claim(transaction, asked.claim))
    return pb.ClaimAgreedResponse(asked=pb.AskedTask(task=task, function=results.function_of(transaction, task)))


def claim_together(asked: Asked[pb.ClaimAgreedParam]) -> Mapping[int, pb.ClaimAgreedResponse]:
    """Claim what calls have agreed to and nobody else holds; return the answers by their places."""
    claimed = batches.claim_free(asked, _claim)
    return {number: pb.ClaimAgreedResponse(claimed=each) for number, each in claimed.items()}


def _claim(asked: pb.ClaimAgreedParam, token: str) -> Claim | None:
    agreed = _agreed(asked)
    return claims.checked(asked.claim, token, agreed) if agreed else None


def _agreed(asked: pb.ClaimAgreedParam) -> set[tuple[UUID, str]]:
    if len(asked.agreed) > _MOST:
        raise BadRequestError(f"agreed: up to {_MOST} are taken in one call, {len(asked.agreed)} are given")
    return {(parse_key(each.function_key, "function_key"), each.plan_owner) for each in asked.agreed}
