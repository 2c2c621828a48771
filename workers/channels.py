"""An organization's connections to the orchestrator: one client per channel."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
import structlog

from orchestrator.client import Client
from orchestrator.client.insistence import Answer
from workers.assets.peers import Peers
from workers.settings import MemberSettings

log = structlog.get_logger()


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
