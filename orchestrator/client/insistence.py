"""Calls that change nothing when repeated, made again and again until the orchestrator answers them."""

import time
from collections.abc import Callable
from typing import TypeVar

import grpc
import tenacity

from orchestrator.client.errors import CallError

Answer = TypeVar("Answer")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0
# Without a code, a fault of the server's, and too much in hand.
_UNANSWERED = ("", "OE0007", "OE0201")
# gRPC's own words, at either end, for a message that will never be smaller.
_TOO_LARGE = "message larger than max"
_BACKOFF = tenacity.wait_exponential_jitter(multiplier=_FIRST_PAUSE, max=_LONGEST_PAUSE)


def lost(error: BaseException) -> bool:
    """Say whether nobody knows if the call was done, so that it may be sent again.

    Only the orchestrator's own words answer a call: whatever else comes, an INTERNAL fault of its database or the
    refusal of a proxy on the way, says nothing about what was called.
    """
    if not isinstance(error, grpc.RpcError):
        return False
    failure = CallError.of(error)
    if failure.status is grpc.StatusCode.UNIMPLEMENTED or _TOO_LARGE in failure.message:
        return False
    return failure.oe_code in _UNANSWERED


def insist(
    call: Callable[[], Answer],
    seconds: float = 300.0,
    enough: Callable[[], bool] | None = None,
    pause: Callable[[float], object] = time.sleep,
) -> Answer:
    """Make a call that changes nothing when repeated, again and again until it is answered.

    Args:
        call: the call.
        seconds: how long to try.
        enough: asked instead of a clock, after each time, whether to give up.
        pause: waits for some seconds.

    Raises:
        grpc.RpcError: it was refused, or never answered.
    """

    def sleep(seconds: float) -> None:
        pause(seconds)

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(lost),
        wait=_wait,
        stop=(lambda _: enough()) if enough else tenacity.stop_after_delay(seconds),
        sleep=sleep,
        reraise=True,
    )
    return retrying(call)


def _wait(state: tenacity.RetryCallState) -> float:
    """Return the pause, in seconds: as long as the orchestrator asks for, at least."""
    error = state.outcome.exception() if state.outcome else None
    asked = CallError.of(error).pause if isinstance(error, grpc.RpcError) else 0.0
    return max(asked, _BACKOFF(state))
