"""The HTTP server: `/health` (the process lives), `/ready` (it can serve), `/metrics` where enabled."""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Iterator

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestrator.core.errors import BusyError, UnavailableError
from orchestrator.core.vitals import Vitals
from orchestrator.gateway.metrics import exposition
from orchestrator.listening import Listener, Protocol

_SCRAPES = 4


def application(ready: Callable[[], Awaitable[None]], vitals: Callable[[], Vitals] | None) -> Starlette:
    """Return the HTTP application; the arguments are those of `serve_http`."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def is_ready(_: Request) -> Response:
        try:
            await ready()
        except UnavailableError as error:
            return JSONResponse({"status": str(error)}, status_code=503)
        return JSONResponse({"status": "ok"})

    routes = [Route("/health", live), Route("/ready", is_ready)]
    if vitals is not None:
        read = vitals

        scrapes = 0

        async def metrics(_: Request) -> Response:
            nonlocal scrapes
            if scrapes >= _SCRAPES:
                raise BusyError(f"{scrapes} scrapes are in hand, and no more are taken")
            scrapes += 1
            try:
                return await scraped()
            finally:
                scrapes -= 1

        async def scraped() -> Response:
            return Response(await asyncio.to_thread(exposition, read), media_type=CONTENT_TYPE_LATEST)

        routes.append(Route("/metrics", metrics))
    return Starlette(routes=routes, exception_handlers={BusyError: _busy})


def _busy(_: Request, error: Exception) -> Response:
    pause = error.pause if isinstance(error, BusyError) else 1.0
    return JSONResponse({"error": str(error)}, status_code=429, headers={"Retry-After": str(math.ceil(pause))})


async def serve_http(
    listener: Listener, patience: float, ready: Callable[[], Awaitable[None]], vitals: Callable[[], Vitals] | None
) -> None:
    """Serve until cancelled.

    Args:
        listener: the socket that it listens on.
        patience: seconds that the headers of a request may take.
        ready: raises UnavailableError when the server cannot do its work.
        vitals: reads those of the sweeps and the nodes for `/metrics`; None leaves that page out.
    """
    config = uvicorn.Config(
        application(ready, vitals),
        http=type("_Protocol", (Protocol,), {"patience": patience}),
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",
    )
    await _Server(config).serve(sockets=[listener])


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # The gRPC server beside it hears the signals and ends both.
        yield
