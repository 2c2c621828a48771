"""Whom the commands of the HTTP services trust, with a file of CA certificates and without."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from orchestrator.embedded.certificates import Layout, lay_out
from tests.kit import commands

NONE = "--ca-cert, --cert or --key cannot be used: "
LISTS = (("schema", "schemas"), ("execution", "executions"), ("problem", "problems"))


class _Nothing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"results": [], "problems": [], "next": null}')

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return lay_out(tmp_path_factory.mktemp("certificates"), ["org-1"])


@contextmanager
def serving(layout: Layout) -> Iterator[str]:
    """Answer all with an empty list, over TLS."""
    with HTTPServer(("127.0.0.1", 0), _Nothing) as server:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(layout.server.certificate, layout.server.key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("group", "rows"), LISTS)
def test_whom_the_system_trusts_is_trusted_and_nobody_else(layout: Layout, group: str, rows: str) -> None:
    with serving(layout) as url:
        for named in ([], ["--ca-cert", str(layout.server.authority)]):
            environment = {} if named else {"SSL_CERT_FILE": str(layout.server.authority)}
            done = commands.run(group, "--url", url, *named, "list", "--json", environment=environment)
            assert (done.returncode, done.stderr) == (0, "")
            assert rows in done.stdout
        done = commands.run(group, "--url", url, "list")
        assert done.returncode == 3
        assert "CERTIFICATE_VERIFY_FAILED" in done.stderr


@pytest.mark.parametrize("group", [group for group, _ in LISTS])
def test_a_file_that_is_no_certificate_is_told(group: str, layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "none.crt").write_text("none")
    key = str(layout.server.key)
    for words in (["--ca-cert", str(tmp_path / "none.crt")], ["--cert", str(tmp_path / "none.crt"), "--key", key]):
        done = commands.run(group, "--url", "https://127.0.0.1:9", *words, "list")
        assert done.returncode == 2
        assert done.stderr.startswith(f"Error: {NONE}")
