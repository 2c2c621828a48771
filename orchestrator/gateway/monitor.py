"""What tools of the operator ask of a server: `/health`, `/ready`, and `/metrics` where it is enabled."""

import asyncio
import math
from collections.abc import Awaitable, Callable

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestrator import health
from orchestrator.core.errors import BusyError

_SCRAPES = 4


def routes(ready: health.Ready, exposed: Callable[[], bytes] | None, told: health.Told = health.nothing) -> list[Route]:
    """Return the routes.

    Args:
        ready: raises UnavailableError when the server cannot do its work.
        exposed: returns what `/metrics` shows; None leaves that page out.
        told: returns what `/ready` says besides.
    """
    made = health.routes(ready, told)
    if exposed is not None:
        made.append(Route("/metrics", _metrics(exposed)))
    return made


def _metrics(exposed: Callable[[], bytes]) -> Callable[[Request], Awaitable[Response]]:
    scrapes = 0

    async def metrics(_: Request) -> Response:
        nonlocal scrapes
        if scrapes >= _SCRAPES:
            return _busy(BusyError(f"{scrapes} scrapes are in hand, and no more are taken"))
        scrapes += 1
        try:
            return Response(await asyncio.to_thread(exposed), media_type=CONTENT_TYPE_LATEST)
        finally:
            scrapes -= 1

    return metrics


def _busy(error: BusyError) -> Response:
    return JSONResponse({"error": str(error)}, status_code=429, headers={"Retry-After": str(math.ceil(error.pause))})
