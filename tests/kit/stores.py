"""The server of an asset store as a process of its own, for tests that ask it over real TLS."""

import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from orchestrator.client import Certificates
from orchestrator.embedded.certificates import Layout
from orchestrator.embedded.ports import free_port
from tests.kit.waiting import wait_until

_SCRIPT = (
    "import sys; from workers.assets.settings import StoreSettings; from workers.assets.store_server import serve; "
    "sys.exit(serve(StoreSettings()))"
)


@dataclass
class Store:
    """A store's server process.

    Args:
        address: https URL.
        root: the store's folder.
        layout: everybody's certificates.
        process: its process.
    """

    address: str
    root: Path
    layout: Layout
    process: "subprocess.Popen[bytes]"

    def peer(self, organization: str) -> httpx.Client:
        return self.peer_with(self.layout.peer(organization))

    def peer_with(self, certificates: Certificates) -> httpx.Client:
        context = ssl.create_default_context(cafile=certificates.authority)
        context.load_cert_chain(certificates.certificate, certificates.key)
        return httpx.Client(verify=context, base_url=self.address, trust_env=False, timeout=60)


def log_of(root: Path) -> Path:
    """Return the file of what the server of a store has logged."""
    return root.with_name(f"{root.name}.log")


@contextmanager
def stored(
    root: Path,
    layout: Layout,
    organization: str,
    orchestrator: str,
    settings: Mapping[str, str] | None = None,
    port: int | None = None,
) -> Iterator[Store]:
    """Serve an organization's asset store, and end it afterwards unless the test did.

    Args:
        root: the store's folder.
        layout: everybody's certificates.
        organization: whose store it is.
        orchestrator: host:port, with plain gRPC unless the settings say otherwise.
        settings: more of them, by their whole name.
        port: to listen on; a free one by default.
    """
    port = port or free_port()
    files = layout.store(organization)
    environment = {
        "ORCHESTRATOR_ORGANIZATION": organization,
        "ORCHESTRATOR_CHANNELS": "known",
        "ORCHESTRATOR_ADDRESS": orchestrator,
        "ORCHESTRATOR_STORE_ROOT": str(root),
        "ORCHESTRATOR_STORE_URL": f"https://127.0.0.1:{port}",
        "ORCHESTRATOR_STORE_ADDRESS": f"127.0.0.1:{port}",
        "ORCHESTRATOR_STORE_CERT": str(files.certificate),
        "ORCHESTRATOR_STORE_KEY": str(files.key),
        "ORCHESTRATOR_TLS_CLIENT_CA_CERT_DIR": str(layout.client_authorities),
        **(settings or {}),
    }
    with (
        log_of(root).open("ab") as log,
        subprocess.Popen(
            [sys.executable, "-c", _SCRIPT], env={**os.environ, **environment}, stdout=log, stderr=log
        ) as process,
    ):
        store = Store(f"https://127.0.0.1:{port}", root, layout, process)
        try:
            wait_until(lambda: _answers(store, organization), timeout=60, message="the store's server to answer")
            yield store
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, -signal.SIGKILL)


def _answers(store: Store, organization: str) -> bool:
    with store.peer(organization) as peer:
        try:
            return peer.get("/nothing").status_code == 404
        except httpx.TransportError:
            assert store.process.poll() is None, "the store's server has ended"
            return False
