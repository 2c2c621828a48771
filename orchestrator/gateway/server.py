"""The HTTP server: `/health` (the process lives), `/ready` (it can serve), `/metrics` where enabled."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestrator.store.database import Database


def application(database: Database, metrics_enabled: bool) -> Starlette:
    """Return the HTTP application."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(_: Request) -> Response:
        try:
            await asyncio.to_thread(_ask, database)
        except SQLAlchemyError:
            return JSONResponse({"status": "the database cannot be reached"}, status_code=503)
        return JSONResponse({"status": "ok"})

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    routes = [Route("/health", live), Route("/ready", ready)]
    if metrics_enabled:
        routes.append(Route("/metrics", metrics))
    return Starlette(routes=routes)


def _ask(database: Database) -> None:
    with database.engine.connect() as connection:
        connection.execute(text("SELECT 1"))


async def serve_http(listener: socket.socket, database: Database, metrics_enabled: bool) -> None:
    """Serve until cancelled.

    Args:
        listener: the socket that it listens on.
        database: to ask for `/ready`.
        metrics_enabled: whether `/metrics` is there.
    """
    config = uvicorn.Config(
        application(database, metrics_enabled),
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
