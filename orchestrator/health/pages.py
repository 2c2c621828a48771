"""The two pages of a process's health, and what serves them from a thread: see `health`."""

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestrator.core.errors import UnavailableError
from orchestrator.health import Ready, Told
from orchestrator.listening import Limits, Listener, Protocol, runner

_LIMITS = Limits(connections=32, of_one=16, seconds=5.0)
_END_SECONDS = 5.0


def nothing() -> Mapping[str, str]:
    """Return nothing to say besides."""
    return {}


def routes(ready: Ready, told: Told = nothing) -> list[Route]:
    """Return the routes of both.

    Args:
        ready: asked by `/ready`.
        told: returns what its answer says besides.
    """

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def is_ready(_: Request) -> Response:
        try:
            await ready()
        except UnavailableError as error:
            return JSONResponse({"status": str(error), **told()}, status_code=503)
        return JSONResponse({"status": "ok", **told()})

    return [Route("/health", live), Route("/ready", is_ready)]


def listen(address: str) -> Listener:
    """Return what listens on host:port.

    Raises:
        OSError: it cannot be listened on.
    """
    return Listener(address, _LIMITS)


@contextmanager
def served(listener: Listener, ready: Ready, more: Sequence[Route]) -> Iterator[None]:
    """Answer from a thread as long as the block runs.

    Args:
        listener: closed afterwards.
        ready: asked in that thread's event loop.
        more: routes that are served beside.
    """
    # A process that is forked from this one would keep the address from the next.
    os.register_at_fork(after_in_child=listener.close)
    server = _Server(
        uvicorn.Config(
            Starlette(routes=[*routes(ready), *more]),
            http=type("_Protocol", (Protocol,), {"patience": _LIMITS.seconds}),
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
    )
    thread = threading.Thread(target=_serve, args=(server, listener), name="health", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(_END_SECONDS)
        listener.close()


def _serve(server: "_Server", listener: Listener) -> None:
    with runner(_LIMITS) as running:
        running.run(server.serve(sockets=[listener]))


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # They are the process's, and only its main thread can hear them.
        yield
