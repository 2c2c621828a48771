"""Calls to the orchestrator that change nothing when repeated, made until they are answered."""

from collections.abc import Callable
from typing import TypeVar

import grpc
import tenacity

from orchestrator.client import CallError

Answer = TypeVar("Answer")

_BACKOFF = tenacity.wait_exponential_jitter(multiplier=0.2, max=5)
# Without a code, a fault of the server's, and too much in hand.
_UNANSWERED = ("", "OE0007", "OE0201")
_TOO_LARGE = "message larger than max"


def lost(error: BaseException) -> bool:
    """Say whether nobody knows if a call was done: only the orchestrator's own words answer it."""
    if not isinstance(error, grpc.RpcError):
        return False
    failure = CallError.of(error)
    if failure.status is grpc.StatusCode.UNIMPLEMENTED or _TOO_LARGE in failure.message:
        return False
    return failure.oe_code in _UNANSWERED


def insist(call: Callable[[], Answer], enough: Callable[[], bool], pause: Callable[[float], object]) -> Answer:
    """Make a call again and again until it is answered.

    Args:
        call: the call.
        enough: asked after each time whether to give up.
        pause: waits for some seconds.

    Raises:
        grpc.RpcError: it was refused, or it was enough.
    """

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = CallError.of(error).pause if isinstance(error, grpc.RpcError) else 0.0
        return max(asked, _BACKOFF(state))

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(lost),
        wait=wait,
        stop=lambda _: enough(),
        sleep=lambda seconds: (pause(seconds), None)[1],
        reraise=True,
    )
    return retrying(call)
