"""The HTTP server: `/health` (the process lives), `/ready` (it can serve), `/metrics` where enabled."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestrator.core.errors import UnavailableError
from orchestrator.core.vitals import Vitals
from orchestrator.gateway.metrics import exposition


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

        async def metrics(_: Request) -> Response:
            return Response(await asyncio.to_thread(exposition, read), media_type=CONTENT_TYPE_LATEST)

        routes.append(Route("/metrics", metrics))
    return Starlette(routes=routes)


async def serve_http(
    listener: socket.socket, ready: Callable[[], Awaitable[None]], vitals: Callable[[], Vitals] | None
) -> None:
    """Serve until cancelled.

    Args:
        listener: the socket that it listens on.
        ready: raises UnavailableError when the server cannot do its work.
        vitals: reads those of the sweeps and the nodes for `/metrics`; None leaves that page out.
    """
    config = uvicorn.Config(
        application(ready, vitals),
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
