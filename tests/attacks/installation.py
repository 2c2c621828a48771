"""A network whose certificates the test makes itself: a real server and a real asset store over mutual TLS."""

import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import httpx
import yaml

from orchestrator import protos as pb
from orchestrator.client import Certificates, Client
from orchestrator.embedded.certificates import Layout, lay_out
from orchestrator.embedded.ports import free_port
from tests.kit import processes
from tests.kit.issuing import Issued, authority, client
from tests.kit.servers import serving, settings_for_tls
from tests.kit.waiting import wait_until

CHANNEL = "channel"
OWNER = "org-1"
"""Whose asset store runs."""


@dataclass
class Installation:
    """Where everything lies, and where the server and the store listen."""

    folder: Path
    layout: Layout
    settings: dict[str, str] = field(default_factory=dict)
    http: str = ""
    address: str = ""
    store: str = ""

    @property
    def channels(self) -> Path:
        return self.folder / "channels.yaml"

    @property
    def deny_list(self) -> Path:
        return self.folder / "denied.yaml"

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    def authorities(self, organization: str) -> Path:
        """The folder with an organization's authorities and revocation lists."""
        return self.layout.client_authorities / organization

    def trust(self, organization: str, *authorities: Issued) -> None:
        folder = self.authorities(organization)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ca.crt").write_bytes(b"".join(each.pem for each in authorities))

    def write_channels(self, *organizations: str) -> None:
        self.channels.write_text(yaml.safe_dump({"channels": {CHANNEL: list(organizations)}}))

    def save(self, name: str, shown: Issued, chain: bytes | None = None) -> Certificates:
        """Write a client's certificate, with another chain if one is given."""
        files = shown.save(self.folder / "clients", name, self.layout.server.authority)
        if chain is not None:
            files.certificate.write_bytes(chain)
        return files

    def call(self, files: Certificates, organization: str) -> str:
        """Ask the server as an organization on a new connection; return `ok` or what stands in the way."""
        with Client(self.address, organization, CHANNEL, files, timeout=30) as client:
            return ask(client)

    def start_another(self) -> str:
        """Start a second server with the same files, which must not start; return the line that it ends with."""
        addresses = {f"ORCHESTRATOR_{kind}_ADDRESS": f"127.0.0.1:{free_port()}" for kind in ("GRPC", "HTTP")}
        command = [sys.executable, "-m", "orchestrator", "serve"]
        environment = processes.clean_environment({**self.settings, **addresses})
        ended = subprocess.run(command, env=environment, capture_output=True, timeout=120, text=True)
        assert ended.returncode
        return ended.stderr.strip().splitlines()[-1]

    def peer(self, files: Certificates) -> httpx.Client:
        """A connection to the asset store, kept alive."""
        context = ssl.create_default_context(cafile=self.layout.peers)
        context.load_cert_chain(files.certificate, files.key)
        return httpx.Client(verify=context, base_url=self.store, trust_env=False, timeout=60)

    def read(self, files: Certificates) -> int:
        """Read a file of the owner's store that others may not read; 0 where there is no connection."""
        try:
            with self.peer(files) as peer:
                return peer.get(SECRET).status_code
        except httpx.TransportError:
            return 0


SECRET = "/logs/11111111-1111-4111-8111-111111111111-1"
"""What the organization's own people may always read in its own store."""


def ask(client: Client) -> str:
    try:
        client.organizations.GetAllOrganizations(pb.GetAllOrganizationsParam())
    except grpc.RpcError as error:
        return f"{error.code().name} {error.details()}"
    return "ok"


class Stream:
    """A subscription that stands, and how it ended."""

    def __init__(self, client: Client) -> None:
        self.end = ""
        self._events = client.events.SubscribeToEvents(pb.SubscribeToEventsParam())
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        assert self._begun.wait(60), self.end

    def _follow(self) -> None:
        try:
            for _ in self._events:
                self._begun.set()
        except grpc.RpcError as error:
            self.end = f"{error.code().name} {error.details()}"
            self._begun.set()


@contextmanager
def running(folder: Path, database: str, authorities: dict[str, Issued]) -> Iterator[Installation]:
    """Run a server that trusts these authorities, and the asset store of `OWNER`, which trusts the same."""
    network = Installation(folder, lay_out(folder / "tls", [OWNER]))
    for organization, issuer in authorities.items():
        network.trust(organization, issuer)
    network.deny_list.write_text("serials: {}\n")
    # Who asks for the server's health.
    operator = authority("operator")
    network.trust("operator", operator)
    credentials = network.save("operator", client(operator, "operator")).credentials()
    network.http = f"127.0.0.1:{free_port()}"
    network.settings = {
        **settings_for_tls(network.layout),
        "ORCHESTRATOR_HTTP_ADDRESS": network.http,
        "ORCHESTRATOR_DATABASE_URL": database,
        "ORCHESTRATOR_CHANNEL_CONFIG": str(network.channels),
        "ORCHESTRATOR_TLS_DENY_LIST": str(network.deny_list),
        "ORCHESTRATOR_METRICS_ENABLED": "true",
    }
    with (
        serving(folder, database, {CHANNEL: [*authorities]}, network.settings, credentials) as network.address,
        _store(network, authorities[OWNER]),
    ):
        yield network


@contextmanager
def _store(network: Installation, issuer: Issued) -> Iterator[None]:
    port = free_port()
    root = network.folder / "store"
    (root / "logs").mkdir(parents=True)
    (root / SECRET.removeprefix("/")).write_bytes(b"weights")
    caller = network.save("store", client(issuer, OWNER))
    served = network.layout.store(OWNER)
    environment = {
        "ORCHESTRATOR_ORGANIZATION": OWNER,
        "ORCHESTRATOR_CHANNELS": CHANNEL,
        "ORCHESTRATOR_ADDRESS": network.address,
        "ORCHESTRATOR_CLIENT_CA_CERT": str(caller.authority),
        "ORCHESTRATOR_CLIENT_CERT": str(caller.certificate),
        "ORCHESTRATOR_CLIENT_KEY": str(caller.key),
        "ORCHESTRATOR_STORE_ROOT": str(root),
        "ORCHESTRATOR_STORE_ADDRESS": f"127.0.0.1:{port}",
        "ORCHESTRATOR_STORE_CERT": str(served.certificate),
        "ORCHESTRATOR_STORE_KEY": str(served.key),
        "ORCHESTRATOR_TLS_CLIENT_CA_CERT_DIR": str(network.layout.client_authorities),
        "ORCHESTRATOR_TLS_DENY_LIST": str(network.deny_list),
    }
    command = [sys.executable, "-m", "orchestrator", "store"]
    network.store = f"https://127.0.0.1:{port}"
    with processes.running(command, environment, network.folder / "store.log"):
        wait_until(lambda: network.read(caller) == 200, 30, "the asset store to answer")
        yield
