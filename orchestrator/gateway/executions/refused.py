"""What a call of executions is answered with that was not done: three shapes, and no other."""

import json
import math
from collections.abc import Mapping

from starlette.responses import Response

from orchestrator.calls.refusals import Refusal
from orchestrator.core import errors
from orchestrator.executions.errors import FieldsError
from orchestrator.executions.maas import MaasError
from orchestrator.gateway.executions.answers import body
from orchestrator.gateway.executions.parts import MediaError

_STATUS: Mapping[type[Exception], int] = {
    Exception: 500,
    errors.NotFoundError: 404,
    errors.BadRequestError: 400,
    errors.InvalidAssetError: 400,
    errors.ConflictError: 400,
    errors.PermissionDeniedError: 403,
    errors.UnauthenticatedError: 401,
    errors.UnavailableError: 503,
    errors.BusyError: 429,
    MaasError: 502,
    MediaError: 415,
}
_JSON = "application/json"


def detail(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer that says what is wrong with how it was asked."""
    return Response(body({"detail": text}), status, headers, media_type=_JSON)


def whole(status: int, text: str) -> Response:
    """Return an answer that says what is wrong with a call as a whole."""
    return Response(body([text]), status, media_type=_JSON)


def answer(refusal: Refusal, challenge: str) -> Response:
    """Return what a refused call is answered with.

    Args:
        refusal: why.
        challenge: the value of WWW-Authenticate, for a caller that nobody knows.
    """
    status = refusal.of(_STATUS)
    if issubclass(refusal.kind, FieldsError):
        return Response(body(json.loads(refusal.message)), status, media_type=_JSON)
    if status in (400, 500, 502):
        return whole(status, refusal.message)
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = challenge
    if status in (429, 503):
        headers["Retry-After"] = str(math.ceil(refusal.pause or 1))
    return detail(status, refusal.message, headers)
