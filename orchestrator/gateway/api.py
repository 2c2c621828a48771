"""The HTTP edge: from headers to who calls, from a route to a use case, from a refusal to a status and JSON."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestrator import log
from orchestrator.calls.call import Calls
from orchestrator.calls.refusals import Refusal
from orchestrator.core import errors
from orchestrator.core.fields import LARGEST_MESSAGE, shown
from orchestrator.gateway.identity import Identity
from orchestrator.gateway.routes import ROUTES, Served

_BODILESS = frozenset({"GET", "HEAD", "DELETE"})


class TooLargeError(errors.BadRequestError):
    """The body is larger than a request may be."""


class WrongMediaError(errors.BadRequestError):
    """The body is not of the media type that the route takes."""


STATUS: Mapping[type[Exception], int] = {
    errors.NotFoundError: 404,
    errors.BadRequestError: 400,
    errors.ConflictError: 409,
    errors.InternalError: 500,
    errors.UnimplementedError: 501,
    errors.InvalidAssetError: 400,
    errors.PermissionDeniedError: 403,
    errors.UnauthenticatedError: 401,
    errors.IncompatibleStatusError: 409,
    errors.MissingOutputError: 400,
    errors.IncompatibleKindError: 400,
    errors.CannotDisableOutputError: 409,
    errors.TerminatedPlanError: 409,
    errors.TerminatedTaskError: 409,
    errors.UnavailableError: 503,
    errors.BusyError: 429,
    TooLargeError: 413,
    WrongMediaError: 415,
}
"""The HTTP status of each error; of a kind that is not listed, that of the kind it is derived from."""


def routes_of(calls: Calls, identity: Identity, routes: Sequence[Served] = ROUTES) -> list[Route]:
    """Return the routes of the API.

    Args:
        calls: answers them.
        identity: lets callers in.
        routes: what stands behind each.
    """
    return [Route(each.path, _endpoint(calls, identity, each), methods=[each.method]) for each in routes]


def _endpoint(calls: Calls, identity: Identity, route: Served) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        peer = request.client.host if request.client else ""
        called = log.begin_request(request.headers.get(log.REQUEST), peer)
        identify, receive = partial(identity.identify, request), partial(_body, request, route.takes)
        answered = await route.answer(calls, identify, receive, request.path_params, request.query_params)
        if isinstance(answered, Refusal):
            response = _refused(answered, identity.challenge)
        else:
            response = Response(answered, media_type="application/json")
        response.headers[log.REQUEST] = called
        return response

    return endpoint


async def _body(request: Request, takes: str) -> bytes:
    """Receive the body of a request.

    Raises:
        WrongMediaError: it is not what the route takes.
        TooLargeError: it is too large.
        BadRequestError: it has no end.
    """
    if request.method in _BODILESS:
        return b""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != takes:
        raise WrongMediaError(f"a body of type {takes} is needed, {shown(media)} given")
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_MESSAGE:
                raise TooLargeError(f"a body of more than {LARGEST_MESSAGE} bytes is not taken")
    except ClientDisconnect as error:
        raise errors.BadRequestError("the call ended without a request") from error
    return bytes(body)


def _refused(refusal: Refusal, challenge: str) -> Response:
    """Return what a call is answered with that was not done.

    Args:
        refusal: why.
        challenge: the value of WWW-Authenticate, for a caller that nobody knows.
    """
    status = refusal.of(STATUS)
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = challenge
    if status in (429, 503):
        headers["Retry-After"] = str(math.ceil(refusal.pause or 1))
    body = {"code": refusal.code or None, "message": refusal.message}
    return JSONResponse(body, status_code=status, headers=headers)
