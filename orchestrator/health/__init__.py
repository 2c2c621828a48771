"""What tools of the operator ask of any process: `/health` (it lives), `/ready` (it can do its work).

The server answers beside its other pages. Every other process answers from a thread of its own, so that it does so
while it waits for a broker; a process that hangs as a whole answers no more. What serves the pages is imported where
somebody is answered alone: it is a tenth of what the agent of a worker takes to start.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from orchestrator.core.errors import UnavailableError

if TYPE_CHECKING:
    from starlette.routing import Route

    from orchestrator.listening import Listener

# A worker that says for so long nothing does not read.
_PATIENCE_SECONDS = 10.0

Ready = Callable[[], Awaitable[None]]
"""Raises UnavailableError while the process cannot do its work; the message says why."""


Told = Callable[[], Mapping[str, str]]
"""Returns what the answer of `/ready` says besides."""


class AddressError(Exception):
    """The address cannot be listened on; the message is one line for the operator."""


def check_address(address: str | None) -> None:
    """Check that an address can be listened on, for a process that would go on without.

    Raises:
        AddressError: it cannot.
    """
    if address is not None:
        _listen(address).close()


def _listen(address: str) -> "Listener":
    from orchestrator.health import pages

    try:
        return pages.listen(address)
    except OSError as error:
        reason = f"ORCHESTRATOR_HEALTH_ADDRESS {address} cannot be listened on: {error.strerror}"
        raise AddressError(reason) from error


@contextmanager
def answering(address: str | None, ready: Ready, more: "Sequence[Route]" = ()) -> Iterator[None]:
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
    # Where nobody is answered it is not needed.
    from orchestrator.health import pages

    with pages.served(_listen(address), ready, more):
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
