"""Who may listen on an address that is held for those who share it, and what is sent there is not held back."""

import asyncio
import socket

import pytest

from orchestrator.embedded.ports import free_port
from orchestrator.listening import Limits, Listener, hang_up, hold

LIMITS = Limits(8, 8, 1.0)


@pytest.fixture
def address() -> str:
    return f"127.0.0.1:{free_port()}"


def test_those_who_share_listen_beside_one_another(address: str):
    with hold(address), Listener(address, LIMITS, shared=True), Listener(address, LIMITS, shared=True):
        pass


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "[::]"])
def test_who_does_not_share_is_refused_though_nobody_listens(address: str, host: str):
    other = f"{host}:{address.rpartition(':')[2]}"
    with hold(address):
        with pytest.raises(OSError, match="in use"):
            Listener(other, LIMITS)
        with pytest.raises(OSError, match="in use"):
            hold(other)
        with Listener(address, LIMITS, shared=True):
            pass
        with pytest.raises(OSError, match="in use"):
            Listener(other, LIMITS)


@pytest.mark.parametrize("shared", [False, True])
def test_an_address_that_somebody_listens_on_cannot_be_held(address: str, shared: bool):
    with Listener(address, LIMITS, shared=shared), pytest.raises(OSError, match="in use"):
        hold(address)


def test_who_listens_alone_shares_with_nobody(address: str):
    with Listener(address, LIMITS), pytest.raises(OSError, match="in use"):
        Listener(address, LIMITS, shared=True)


def test_connections_that_ended_a_moment_ago_are_in_nobodys_way(address: str):
    host, port = address.split(":")
    with Listener(address, LIMITS) as listener, socket.create_connection((host, int(port))):
        # Who closes first keeps the port for a while.
        listener.accept()[0].close()
    with hold(address), Listener(address, LIMITS, shared=True):
        pass


def test_what_is_written_to_a_connection_is_sent_at_once(address: str):
    async def delay_is_off() -> int:
        connected: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()

        class Server(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                connected.set_result(transport.get_extra_info("socket"))

        server = await asyncio.get_running_loop().create_server(Server, sock=Listener(address, LIMITS))
        host, port = address.split(":")
        async with asyncio.timeout(60), server:
            _, writer = await asyncio.open_connection(host, int(port))
            connection = await connected
            off = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            writer.close()
            return off

    assert asyncio.run(delay_is_off())


def test_who_is_silent_is_asked_whether_anybody_is_there(address: str):
    host, port = address.split(":")
    with Listener(address, LIMITS) as listener, socket.create_connection((host, int(port))):
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            # By default a client whose machine is gone would hold its place for hours.
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 60
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000


def test_hanging_up_ends_what_listens_on_one_address_and_its_connections():
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as other,
        socket.create_connection(one.getsockname()) as client,
        socket.create_connection(other.getsockname()) as another,
    ):
        taken, kept = one.accept()[0], other.accept()[0]
        with taken, kept:
            taken.sendall(b"the answer")
            hang_up("{}:{}".format(*one.getsockname()))
            assert client.makefile("rb").read() == b"the answer"
            kept.sendall(b"!")
            assert another.recv(1) == b"!"
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(one.getsockname())
            socket.create_connection(other.getsockname()).close()
