"""What a call is answered with that was not done: an object that says what happened, to what, and what to do."""

import math
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from orchestrator.calls.refusals import Refusal
from orchestrator.core import errors
from orchestrator.gateway.problems.plain import JSON, body
from orchestrator.problems.errors import NoModuleError, NumbersUsedUpError


class TooLargeError(errors.BadRequestError):
    """The body is larger than a request may be."""


class RefusedError(Exception):
    """A call was refused, and that is counted and logged.

    Args:
        refusal: why.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


STATUS: Mapping[type[Exception], int] = {
    Exception: 500,
    errors.NotFoundError: 404,
    errors.BadRequestError: 400,
    errors.InvalidAssetError: 400,
    errors.ConflictError: 409,
    errors.IncompatibleStatusError: 409,
    errors.TerminatedPlanError: 409,
    errors.TerminatedTaskError: 409,
    errors.PermissionDeniedError: 403,
    errors.UnauthenticatedError: 401,
    errors.UnavailableError: 503,
    errors.BusyError: 429,
    TooLargeError: 413,
    NoModuleError: 503,
    NumbersUsedUpError: 507,
}
"""The HTTP status of each error; of a kind that is not listed, that of the kind it is derived from."""


def error(code: int, text: str, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """Return an answer that says what is wrong.

    Args:
        code: the status of HTTP.
        text: what happened, to what, and what to do.
        headers: more of them.
        more: members beside `error`.
    """
    return Response(body({"error": text, **more}), code, headers, media_type=JSON)


def answer(refusal: Refusal, challenge: str, **more: Any) -> Response:
    """Return what a refused call is answered with.

    Args:
        refusal: why.
        challenge: the value of WWW-Authenticate, for a caller that nobody knows.
        more: members beside `error`.
    """
    status = refusal.of(STATUS)
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = challenge
    if status in (429, 503):
        headers["Retry-After"] = str(math.ceil(refusal.pause or 1))
    return error(status, refusal.message, headers, **more)
