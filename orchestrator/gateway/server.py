"""The HTTP servers: uvicorn on a socket of ours, with limits that it has not."""

import contextlib
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestrator import log
from orchestrator.gateway.targets import Targets
from orchestrator.listening import IdentifyingProtocol, Listener

_log = structlog.get_logger()


def application(routes: Sequence[Route]) -> Starlette:
    """Return the application of some routes; what is none of them is answered in JSON too."""
    handlers: Mapping[Any, Any] = {HTTPException: _unrouted}
    return Starlette(routes=routes, exception_handlers=handlers, middleware=[Middleware(Targets)])


def _unrouted(request: Request, error: HTTPException) -> Response:
    words = {404: f"there is nothing at {request.url.path}", 405: f"{request.method} is not what this path takes"}
    body = {"code": None, "message": words.get(error.status_code, error.detail)}
    peer = request.client.host if request.client else ""
    called = log.begin_request(request.headers.get(log.REQUEST), peer)
    _log.info("call.refused", method=request.method, reason=body["message"], status=error.status_code)
    return JSONResponse(body, status_code=error.status_code, headers={**(error.headers or {}), log.REQUEST: called})


async def serve_http(
    served: Starlette, listener: Listener, patience: float, context: ssl.SSLContext | None = None
) -> None:
    """Serve until cancelled.

    Args:
        served: the application.
        listener: the socket that it listens on.
        patience: seconds that the headers of a request may take.
        context: of TLS; None serves without.
    """
    config = uvicorn.Config(
        served,
        http=type("_Protocol", (IdentifyingProtocol,), {"patience": patience}),
        ssl_context_factory=(lambda _, __: context) if context else None,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
    )
    await _Server(config).serve(sockets=[listener])


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # The gRPC server beside it hears the signals and ends both.
        yield
