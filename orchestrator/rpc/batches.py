"""Calls that do many things at once, and answer each as a call of its own would."""

from collections.abc import Sized

import grpc

from orchestrator import protos as pb
from orchestrator.calls.refusals import refusal
from orchestrator.core.errors import BadRequestError
from orchestrator.engine import batches
from orchestrator.engine.transaction import Transaction

_MOST = 100


def claim(transaction: Transaction, asked: pb.ClaimTasksParam) -> pb.ClaimTasksResponse:
    """Claim many tasks.

    Raises:
        BadRequestError: none or too many are named.
    """
    _check(asked.claims, "claims")
    results = []
    for answer in batches.claim(transaction, asked.claims):
        if isinstance(answer, Exception):
            results.append(pb.ClaimTasksResult(refusal=_refusal("ClaimTasks", answer)))
        else:
            results.append(pb.ClaimTasksResult(claimed=answer))
    return pb.ClaimTasksResponse(results=results)


def complete(transaction: Transaction, asked: pb.CompleteTasksParam) -> pb.CompleteTasksResponse:
    """Complete many attempts.

    Raises:
        BadRequestError: none or too many are named.
    """
    _check(asked.reports, "reports")
    results = []
    for answer in batches.complete(transaction, asked.reports):
        if isinstance(answer, Exception):
            results.append(pb.CompleteTasksResult(refusal=_refusal("CompleteTasks", answer)))
        else:
            results.append(pb.CompleteTasksResult(completed=answer))
    return pb.CompleteTasksResponse(results=results)


def _check(given: Sized, name: str) -> None:
    if not 1 <= len(given) <= _MOST:
        raise BadRequestError(f"{name}: 1 to {_MOST} are taken in one call, {len(given)} are given")


def _refusal(name: str, error: Exception) -> pb.Refusal:
    refused = refusal(name, error)
    code, _ = grpc.StatusCode[refused.outcome].value
    return pb.Refusal(code=code, message=str(refused))
