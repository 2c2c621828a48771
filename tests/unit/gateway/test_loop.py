"""Whichever loop serves a listener, it holds to the listener's limits, and gives up handshakes that take too long."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from orchestrator import listening
from orchestrator.embedded.certificates import Layout
from orchestrator.embedded.ports import HOST, free_port
from orchestrator.gateway import loop
from orchestrator.listening import Limits, Listener

SECONDS = 60
MOST = 2
HELLO = b"hello"


class Hello(asyncio.Protocol):
    """Says hello, and leaves the rest to the client."""

    def connection_made(self, transport: asyncio.WriteTransport) -> None:
        transport.write(HELLO)


def dial(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), SECONDS)


def heard(connection: socket.socket) -> bytes:
    """Return what comes first, nothing where the connection is closed."""
    try:
        return connection.recv(len(HELLO))
    except ConnectionResetError:
        return b""


@pytest.fixture(params=[loop.runner, listening.runner], ids=["uvloop", "asyncio"])
def serve(request: pytest.FixtureRequest) -> Iterator[Callable[..., None]]:
    def serve(client: Callable[[int], None], limits: Limits, context: ssl.SSLContext | None = None) -> None:
        """Serve a client, which is told the port, and runs in a thread."""

        async def scenario() -> None:
            port = free_port()
            with closing(Listener(f"{HOST}:{port}", limits)) as listener:
                server = await asyncio.get_running_loop().create_server(Hello, sock=listener, ssl=context)
                await asyncio.to_thread(client, port)
                server.close()
                await server.wait_closed()

        with request.param(limits) as running:
            running.run(scenario())

    return serve


def test_as_many_connections_are_served_as_may_be_at_once(serve):
    def client(port: int) -> None:
        for _ in range(3):
            held = [dial(port) for _ in range(MOST)]
            assert [heard(each) for each in held] == [HELLO] * MOST
            with dial(port) as one_more:
                assert heard(one_more) == b""
            for each in held:
                each.shutdown(socket.SHUT_WR)
                # It has been closed, and is counted no more, once there is nothing left to read.
                assert each.recv(1) == b""
                each.close()

    serve(client, Limits(MOST, MOST, SECONDS))


def test_a_handshake_that_takes_too_long_makes_room_for_others(serve, certificates: Layout):
    server = certificates.server
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)
    trusting = ssl.create_default_context(cafile=str(server.authority))
    trusting.check_hostname = False

    def client(port: int) -> None:
        silent = [dial(port) for _ in range(MOST)]
        assert [heard(each) for each in silent] == [b""] * MOST
        with dial(port) as another, trusting.wrap_socket(another) as wrapped:
            assert wrapped.recv(len(HELLO)) == HELLO
        for each in silent:
            each.close()

    serve(client, Limits(MOST, MOST, 0.5), context)
