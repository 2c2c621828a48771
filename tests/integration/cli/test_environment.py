"""What a company sets on its machines for other programs: proxies, and authorities to trust."""

import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest

from orchestrator.embedded.certificates import Layout
from tests.kit.partners import Partners
from tests.kit.processes import clean_environment

from .commands import SECONDS, options
from .test_task_logs import LOG, Store, failed_task, port, store

__all__ = ["port", "store"]


class Connect(socketserver.StreamRequestHandler):
    """Answers CONNECT as the proxy of a company does."""

    def handle(self) -> None:
        target = self.rfile.readline().split()[1].decode()
        while self.rfile.readline().strip():
            pass
        self.server.asked.append(target)
        host, _, port = target.rpartition(":")
        with closing(socket.create_connection((host, int(port)))) as there, ThreadPoolExecutor(1) as pool:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            answering = pool.submit(pass_on, there, self.connection)
            pass_on(self.connection, there)
            answering.result()


def pass_on(here: socket.socket, there: socket.socket) -> None:
    # Either side may be gone before the other.
    with suppress(OSError):
        while data := here.recv(65536):
            there.sendall(data)
    with suppress(OSError):
        there.shutdown(socket.SHUT_WR)


class Proxy(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Connect)

    @property
    def environment(self) -> dict[str, str]:
        return company(f"http://127.0.0.1:{self.server_address[1]}")


def company(proxy: str) -> dict[str, str]:
    names = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
    return {
        **dict.fromkeys((*names, *map(str.upper, names)), proxy),
        **dict.fromkeys(("no_proxy", "NO_PROXY", "no_grpc_proxy"), "intranet.example"),
    }


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def asked(network: Partners, store: Store, certificates: Layout) -> list[str]:
    """A command that asks the orchestrator and an asset store."""
    key = failed_task(network, store)
    return ["task", *options(network, certificates), "--peer-ca-cert", str(certificates.peers), "logs", "--raw", key]


def done(asked: list[str], environment: dict[str, str]) -> tuple[int, bytes, bytes]:
    """Return exit code, output and errors of a command."""
    ended = subprocess.run(
        [sys.executable, "-m", "orchestrator", *asked],
        env={**clean_environment(), **environment},
        capture_output=True,
        timeout=SECONDS,
    )
    return ended.returncode, ended.stdout, ended.stderr


def test_a_proxy_that_is_meant_for_others_is_not_used(asked: list[str], proxy: Proxy):
    assert done(asked, proxy.environment) == (0, LOG, b"")
    assert not proxy.asked
    # Nor does one that is not there do any harm.
    assert done(asked, company("http://127.0.0.1:9")) == (0, LOG, b"")


def test_a_proxy_is_used_where_a_setting_says_so(asked: list[str], proxy: Proxy, network: Partners, store: Store):
    wanted = {**proxy.environment, "ORCHESTRATOR_PROXY_FROM_ENVIRONMENT": "true"}
    assert done(asked, wanted) == (0, LOG, b"")
    assert {network.address, store.address.removeprefix("https://")} == set(proxy.asked)


def test_whom_the_environment_trusts_changes_nothing(asked: list[str], tmp_path: Path, certificates: Layout):
    nobody = tmp_path / "nobody.pem"
    nobody.touch()
    names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
    more = {"SSL_CERT_DIR": str(tmp_path), "SSLKEYLOGFILE": str(tmp_path / "nowhere" / "keys")}
    assert done(asked, {**dict.fromkeys(names, str(nobody)), **more}) == (0, LOG, b"")
    # The other way round: those whom the environment alone trusts are not trusted.
    ours = asked.index("--peer-ca-cert") + 1
    foreign = [*asked[:ours], str(certificates.server.authority), *asked[ours + 1 :]]
    code, printed, errors = done(foreign, dict.fromkeys(names, str(certificates.peers)))
    assert (code, printed, b"certificate verify failed" in errors) == (3, b"", True)
