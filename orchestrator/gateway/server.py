"""The HTTP server: `/health` (the process lives), `/ready` (it can serve), `/metrics` where enabled."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestrator.core.errors import UnavailableError


def application(ping: Callable[[], None], metrics_enabled: bool) -> Starlette:
    """Return the HTTP application; `ping` raises UnavailableError when the server cannot do its work."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        try:
            await asyncio.to_thread(ping)
        except UnavailableError as error:
            return JSONResponse({"status": str(error)}, status_code=503)
        return JSONResponse({"status": "ok"})

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    routes = [Route("/health", live), Route("/ready", ready)]
    if metrics_enabled:
        routes.append(Route("/metrics", metrics))
    return Starlette(routes=routes)


async def serve_http(listener: socket.socket, ping: Callable[[], None], metrics_enabled: bool) -> None:
    """Serve until cancelled.

    Args:
        listener: the socket that it listens on.
        ping: raises UnavailableError when the server cannot do its work.
        metrics_enabled: whether `/metrics` is there.
    """
    config = uvicorn.Config(
        application(ping, metrics_enabled),
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
