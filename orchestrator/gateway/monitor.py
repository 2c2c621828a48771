"""What tools of the operator ask of a server: `/health`, `/ready`, and `/metrics` where it is enabled."""

import asyncio
import math
from collections.abc import Awaitable, Callable

from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE_EXEMPLARY
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestrator import health
from orchestrator.core.errors import BusyError
from orchestrator.health import pages

_SCRAPES = 4
_OPENMETRICS = "application/openmetrics-text"


def routes(
    ready: health.Ready,
    exposed: Callable[..., bytes] | None,
    told: health.Told = pages.nothing,
    *,
    exemplars: bool = False,
) -> list[Route]:
    """Return the routes.

    Args:
        ready: raises UnavailableError when the server cannot do its work.
        exposed: returns what `/metrics` shows; None leaves that page out.
        told: returns what `/ready` says besides.
        exemplars: whether whoever takes OpenMetrics gets that, with exemplars.
    """
    made = pages.routes(ready, told)
    if exposed is not None:
        made.append(Route("/metrics", _metrics(exposed, exemplars)))
    return made


def _metrics(exposed: Callable[..., bytes], exemplars: bool) -> Callable[[Request], Awaitable[Response]]:
    scrapes = 0

    async def metrics(request: Request) -> Response:
        nonlocal scrapes
        if scrapes >= _SCRAPES:
            return _busy(BusyError(f"{scrapes} scrapes are in hand, and no more are taken"))
        scrapes += 1
        try:
            if exemplars and _OPENMETRICS in request.headers.get("accept", ""):
                shown = await asyncio.to_thread(exposed, openmetrics=True)
                return Response(shown, media_type=CONTENT_TYPE_EXEMPLARY)
            return Response(await asyncio.to_thread(exposed), media_type=CONTENT_TYPE_LATEST)
        finally:
            scrapes -= 1

    return metrics


def _busy(error: BusyError) -> Response:
    return JSONResponse({"error": str(error)}, status_code=429, headers={"Retry-After": str(math.ceil(error.pause))})
