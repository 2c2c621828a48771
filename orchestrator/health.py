"""What tools of the operator ask of any process: `/health` (it lives), `/ready` (it can do its work).

The server answers beside its other pages. Every other process answers from a thread of its own, so that it does so
while it waits for a broker; a process that hangs as a whole answers no more.
"""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orchestrator.core.errors import UnavailableError
from orchestrator.listening import Limits, Listener, Protocol, runner

_LIMITS = Limits(connections=32, of_one=16, seconds=5.0)
_END_SECONDS = 5.0
# A worker that says for so long nothing does not read.
_PATIENCE_SECONDS = 10.0

Ready = Callable[[], Awaitable[None]]
"""Raises UnavailableError while the process cannot do its work; the message says why."""


Told = Callable[[], Mapping[str, str]]


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


class AddressError(Exception):
    """The address cannot be listened on; the message is one line for the operator."""


def check_address(address: str | None) -> None:
    """Check that an address can be listened on, for a process that would go on without.

    Raises:
        AddressError: it cannot.
    """
    if address is not None:
        _listen(address).close()


def _listen(address: str) -> Listener:
    try:
        return Listener(address, _LIMITS)
    except OSError as error:
        reason = f"ORCHESTRATOR_HEALTH_ADDRESS {address} cannot be listened on: {error.strerror}"
        raise AddressError(reason) from error


@contextmanager
def answering(address: str | None, ready: Ready, more: Sequence[Route] = ()) -> Iterator[None]:
    """Answer from a thread as long as the block runs.

    Args:
        address: host:port; None answers nobody.
        ready: asked in that thread's event loop.
        more: routes that are served beside.

    Raises:
        AddressError: the address cannot be listened on.
    """
    if address is None:
        yield
        return
    listener = _listen(address)
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


async def in_thread(check: Callable[[], None], seconds: float) -> None:
    """Make a check that blocks.

    Args:
        check: raises UnavailableError.
        seconds: how long it may take.

    Raises:
        UnavailableError: it says so, or says nothing.
    """
    try:
        async with asyncio.timeout(seconds):
            await asyncio.to_thread(check)
    except TimeoutError:
        raise UnavailableError(f"there was no answer for {seconds:g} s") from None


class Signs:
    """Whether a Celery worker reads its queue, by what it tells of itself (see `broker.reading`)."""

    def __init__(self) -> None:
        self._last: float | None = None

    def note(self) -> None:
        """Note that it reads."""
        self._last = time.monotonic()

    def check(self) -> None:
        """Check that it reads.

        Raises:
            UnavailableError: it does not, as far as one can tell.
        """
        if self._last is None:
            raise UnavailableError("the broker has not been reached yet")
        silent = time.monotonic() - self._last
        if silent > _PATIENCE_SECONDS:
            reason = "the broker is away, or the worker hangs"
            raise UnavailableError(f"the queue has not been read for {silent:.0f} s: {reason}")
