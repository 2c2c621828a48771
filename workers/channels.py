"""An organization's connections to the orchestrator: one client per channel."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import grpc
import structlog
import tenacity

from orchestrator.client import CallError, Client
from workers.assets.peers import Peers
from workers.settings import MemberSettings

Answer = TypeVar("Answer")

log = structlog.get_logger()

_BACKOFF = tenacity.wait_exponential_jitter(multiplier=0.5, max=10)
# Without a code, a fault of the server's, and too much in hand.
_UNANSWERED = ("", "OE0007", "OE0201")
# gRPC's own words, at either end, for a message that will never be smaller.
_TOO_LARGE = "message larger than max"


class Channels:
    """The clients of one organization, in the order in which its channels are tried.

    A process makes its own: a gRPC connection does not survive a fork.

    Args:
        clients: one for each channel.

    Attributes:
        peers: what each of them knows of the other organizations.
    """

    def __init__(self, clients: tuple[Client, ...]) -> None:
        self.clients = clients
        self.peers = {client: Peers(client) for client in clients}
        self._closed: set[str] = set()

    def find(self, ask: Callable[[Client], Answer]) -> tuple[Client, Answer]:
        """Ask channel after channel until one knows the asset.

        A channel that lets the organization in no more stops itself only: the others are asked all the same.

        Raises:
            grpc.RpcError: no channel knows it (NOT_FOUND); or one was closed (PERMISSION_DENIED) and no other knows it;
                or one refused for another reason.
        """
        refusal: grpc.RpcError | None = None
        for client in self.clients:
            try:
                answer = ask(client)
            except grpc.RpcError as error:
                code = error.code()
                if code not in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED):
                    raise
                closed = code == grpc.StatusCode.PERMISSION_DENIED
                if closed and client.channel not in self._closed:
                    self._closed.add(client.channel)
                    log.warning("channel.refused", channel=client.channel, reason=error.details())
                if refusal is None or closed:
                    refusal = error
            else:
                self._closed.discard(client.channel)
                return client, answer
        if refusal is None:
            raise ValueError("an organization without channels cannot ask")
        raise refusal


@contextmanager
def connect(settings: MemberSettings) -> Iterator[Channels]:
    """Open the connections of an organization, and close them at the end."""
    clients = tuple(
        Client(
            settings.address,
            settings.organization,
            channel,
            settings.certificates,
            proxy_from_environment=settings.proxy_from_environment,
        )
        for channel in settings.channels
    )
    try:
        yield Channels(clients)
    finally:
        for client in clients:
            client.close()


def lost(error: BaseException) -> bool:
    """Say whether nobody knows if the call was done, so that it may be sent again.

    Only the orchestrator's own words answer a call: whatever else comes, an INTERNAL fault of its database or the
    refusal of a proxy on the way, says nothing about what was called.
    """
    if not isinstance(error, grpc.RpcError):
        return False
    failure = CallError.of(error)
    if failure.status is grpc.StatusCode.UNIMPLEMENTED or _TOO_LARGE in failure.message:
        return False
    return failure.oe_code in _UNANSWERED


def insist(
    call: Callable[[], Answer],
    seconds: float = 300.0,
    enough: Callable[[], bool] | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> Answer:
    """Make a call that changes nothing when repeated, again and again until it is answered.

    Args:
        call: the call.
        seconds: how long to try.
        enough: asked instead of a clock, after each time, whether to give up.
        pause: waits for some seconds.

    Raises:
        grpc.RpcError: it was refused, or never answered.
    """
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(lost),
        wait=_wait,
        stop=(lambda _: enough()) if enough else tenacity.stop_after_delay(seconds),
        sleep=pause,
        reraise=True,
    )
    return retrying(call)


def _wait(state: tenacity.RetryCallState) -> float:
    """Return the pause, in seconds: as long as the orchestrator asks for, at least."""
    error = state.outcome.exception() if state.outcome else None
    asked = CallError.of(error).pause if isinstance(error, grpc.RpcError) else 0.0
    return max(asked, _BACKOFF(state))
