"""What tools of the operator ask: `/health` (the process lives), `/ready` (it can serve), `/metrics` where enabled."""

import asyncio
import math
from collections.abc import Awaitable, Callable

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestrator.core.errors import BusyError, UnavailableError

_SCRAPES = 4


def routes(ready: Callable[[], Awaitable[None]], exposed: Callable[[], bytes] | None) -> list[Route]:
    """Return the routes.

    Args:
        ready: raises UnavailableError when the server cannot do its work.
        exposed: returns what `/metrics` shows; None leaves that page out.
    """

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def is_ready(_: Request) -> Response:
        try:
            await ready()
        except UnavailableError as error:
            return JSONResponse({"status": str(error)}, status_code=503)
        return JSONResponse({"status": "ok"})

    made = [Route("/health", live), Route("/ready", is_ready)]
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
