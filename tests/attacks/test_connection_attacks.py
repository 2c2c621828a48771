"""Connections that say nothing, or very slowly: they are few, they are short, and what they cost comes back."""

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import psutil
import pytest

from orchestrator import protos as pb
from orchestrator.client import Client
from orchestrator.embedded.certificates import Layout
from orchestrator.embedded.ports import HOST, free_port
from orchestrator.embedded.postgres import Postgres
from tests.kit.servers import serving
from tests.kit.waiting import wait_until

OWNER, PEER, CHANNEL = "org-1", "org-2", "channel"
MOST, OF_ONE, PATIENCE = 40, 30, 5
ATTACKS = 300
MIB = 1024 * 1024
ELSEWHERE = "127.0.0.2"

SERVE = (
    "import sys; from workers.assets.settings import StoreSettings; from workers.assets.store_server import serve; "
    "sys.exit(serve(StoreSettings()))"
)


class Store:
    """An asset store's process with low limits."""

    def __init__(self, port: int, process: "subprocess.Popen[bytes]", certificates: Layout) -> None:
        self.port = port
        self.process = psutil.Process(process.pid)
        peer = certificates.peer(PEER)
        self.context = ssl.create_default_context(cafile=peer.authority)
        self.context.load_cert_chain(peer.certificate, peer.key)

    def serves(self, source: str = HOST) -> bool:
        """Say whether a peer gets an answer."""
        transport = httpx.HTTPTransport(verify=self.context, local_address=source)
        with httpx.Client(transport=transport, timeout=2 * PATIENCE) as peer:
            try:
                return peer.get(f"https://{HOST}:{self.port}/nothing").status_code == 404
            except httpx.TransportError:
                return False


@pytest.fixture(scope="module")
def store(certificates: Layout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder, port = tmp_path_factory.mktemp("store"), free_port()
    settings = {
        "ORGANIZATION": OWNER,
        "CHANNELS": CHANNEL,
        "ADDRESS": f"{HOST}:{free_port()}",
        "STORE_ROOT": str(folder),
        "STORE_ADDRESS": f"{HOST}:{port}",
        "STORE_CERT": str(certificates.store(OWNER).certificate),
        "STORE_KEY": str(certificates.store(OWNER).key),
        "TLS_CLIENT_CA_CERT_DIR": str(certificates.client_authorities),
        "STORE_CONNECTIONS": str(MOST),
        "STORE_CONNECTIONS_PER_ADDRESS": str(OF_ONE),
        "STORE_REQUEST_TIME": str(PATIENCE),
    }
    environment = os.environ | {f"ORCHESTRATOR_{name}": value for name, value in settings.items()}
    with subprocess.Popen([sys.executable, "-c", SERVE], env=environment) as process:
        running = Store(port, process, certificates)
        try:
            wait_until(running.serves, 30, "the store to answer")
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.fixture(scope="module")
def server(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """host:port of gRPC, and the port of HTTP, of a server with low limits."""
    http = free_port()
    settings = {
        "ORCHESTRATOR_HTTP_ADDRESS": f"[::]:{http}",
        "ORCHESTRATOR_HTTP_CONNECTIONS": str(MOST),
        "ORCHESTRATOR_HTTP_CONNECTIONS_PER_ADDRESS": str(OF_ONE),
        "ORCHESTRATOR_HTTP_REQUEST_TIME": f"{PATIENCE}s",
        "ORCHESTRATOR_GRPC_CONNECTIONS": str(MOST),
        "ORCHESTRATOR_GRPC_HANDSHAKE_TIME": f"{PATIENCE}s",
    }
    database = postgres.create_database("connection_attacks")
    with serving(tmp_path_factory.mktemp("server"), database, {CHANNEL: [OWNER]}, settings) as address:
        yield address, http


@contextlib.contextmanager
def silent(address: tuple[str, int], count: int, source: str = "") -> Iterator[list[socket.socket]]:
    """Open connections that say nothing."""
    with contextlib.ExitStack() as held:
        yield [held.enter_context(socket.create_connection(address, 60, (source, 0))) for _ in range(count)]


def closed(connection: socket.socket) -> bool:
    """Say whether the other side has closed a connection."""
    connection.settimeout(0.001)
    try:
        while connection.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def count_open(connections: list[socket.socket]) -> int:
    return sum(not closed(connection) for connection in connections)


def wait_for_few(connections: list[socket.socket], most: int = OF_ONE) -> None:
    """Wait until all are closed but the first ones, which are closed when their time is over."""
    wait_until(lambda: count_open(connections[most:]) == 0, PATIENCE, "what is too much to be closed")
    assert count_open(connections[:most]), "it was their time that closed them, not their number"


def test_silent_connections_to_a_store_are_few_and_short(store):
    before = store.process.memory_info().rss
    with silent((HOST, store.port), ATTACKS) as connections:
        wait_for_few(connections)
        assert store.serves(ELSEWHERE), "those of one address keep out another"
        assert store.process.memory_info().rss - before < 40 * MIB
        wait_until(lambda: count_open(connections) == 0, 60, "the handshakes to be given up")
    wait_until(store.serves, 60, "the store to answer")
    wait_until(lambda: store.process.memory_info().rss - before < 20 * MIB, 60, "the memory to come back")


def test_silent_connections_of_several_addresses_to_a_store_are_few_too(store):
    address = (HOST, store.port)
    with silent(address, OF_ONE) as some, silent(address, OF_ONE, ELSEWHERE) as others:
        wait_for_few([*some, *others], MOST)
    wait_until(store.serves, 60, "the store to answer")


@pytest.mark.parametrize("sent", [b"", b"GET /nothing HTTP/1.1\r\nHost: x\r\nX-Slow: "])
@pytest.mark.parametrize("first", [b"", b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_half_a_request_holds_no_connection_to_a_store(store, first, sent):
    with (
        socket.create_connection((HOST, store.port), 60) as plain,
        store.context.wrap_socket(plain, server_hostname=HOST) as connection,
    ):
        if first:
            connection.sendall(first)
            assert connection.recv(65536).startswith(b"HTTP/1.1 404")
        connection.sendall(sent)
        dripping(connection)


def dripping(connection: socket.socket) -> None:
    """Send a byte now and then; check that the other side ends it in time."""
    began = time.monotonic()
    connection.settimeout(0.2)
    while time.monotonic() - began < 5 * PATIENCE:
        try:
            connection.sendall(b"a")
            if not connection.recv(65536):
                return
        except TimeoutError:
            continue
        except OSError:
            return
    raise AssertionError("it is still open")


def test_half_a_request_holds_no_connection_to_the_http_server(server):
    _, port = server
    with silent((HOST, port), ATTACKS) as connections:
        wait_for_few(connections)
        wait_until(lambda: count_open(connections) == 0, 3 * PATIENCE, "all to be closed")
    with socket.create_connection((HOST, port), 60) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nX-Slow: ")
        dripping(connection)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_the_http_server_listens_on_both_kinds_of_addresses(server, host):
    assert httpx.get(f"http://{host}:{server[1]}/health", timeout=60).json() == {"status": "ok"}


def test_silent_connections_to_the_grpc_server_make_room_for_others(server):
    address, _ = server
    with silent((HOST, int(address.rpartition(":")[2])), ATTACKS) as connections:
        wait_until(lambda: count_open(connections) <= MOST, PATIENCE, "what is too much to be closed")
        wait_until(lambda: count_open(connections) == 0, 5 * PATIENCE, "the others to be given up")
        with Client(address, OWNER, CHANNEL) as client:
            client.info.QueryVersion(pb.QueryVersionParam())
