"""A server whose HTTP API has an address of its own, over TLS, and knows its callers by certificates and tokens."""

import ssl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import yaml

from orchestrator.access import tokens
from orchestrator.client import Client
from orchestrator.embedded.certificates import Layout
from orchestrator.embedded.ports import free_port
from orchestrator.embedded.postgres import Postgres
from tests.kit.database import opened
from tests.kit.servers import serving, settings_for_tls

HERE, THERE = "here", "there"
CHANNELS = {HERE: ["org-1", "org-2", "org-4", "org-5"], THERE: ["org-1"]}
CALLS = 4


@dataclass
class Served:
    """Where everything is."""

    layout: Layout
    folder: Path
    database: str
    grpc: str
    http: str
    api: str

    @property
    def deny_list(self) -> Path:
        return self.folder / "denied.yaml"

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    def deny(self, organization: str, *serials: int) -> None:
        self.deny_list.write_text(yaml.safe_dump({"serials": {organization: [f"{each:X}" for each in serials]}}))

    def context(self, organization: str | None = None) -> ssl.SSLContext:
        """TLS as an organization, or as nobody."""
        context = ssl.create_default_context(cafile=self.layout.server.authority)
        if organization:
            files = self.layout.client(organization)
            context.load_cert_chain(files.certificate, files.key)
        return context

    @contextmanager
    def caller(self, organization: str | None = None, token: str = "", **headers: str) -> Iterator[httpx.Client]:
        """A connection to the API.

        Args:
            organization: whose certificate is shown.
            token: that is shown.
            headers: beside.
        """
        given = {**headers, **({"authorization": f"Bearer {token}"} if token else {})}
        verify = self.context(organization)
        with httpx.Client(base_url=f"https://{self.api}", verify=verify, headers=given, timeout=30) as caller:
            yield caller

    @contextmanager
    def client(self, organization: str, channel: str = HERE) -> Iterator[Client]:
        """A connection to gRPC."""
        with Client(self.grpc, organization, channel, self.layout.client(organization), timeout=60) as client:
            yield client

    def token(self, organization: str, *channels: str) -> str:
        """Return a new token."""
        now = datetime.now(UTC)
        with opened(self.database, pool_size=1) as database, database.begin() as connection:
            return tokens.create(connection, organization, frozenset(channels), now, now + timedelta(days=1))[1]


@contextmanager
def running(folder: Path, layout: Layout, postgres: Postgres) -> Iterator[Served]:
    database = postgres.create_database(f"api_{uuid.uuid4().hex}")
    http, api = (f"127.0.0.1:{free_port()}" for _ in range(2))
    served = Served(layout, folder, database, "", http, api)
    served.deny_list.write_text("serials: {}\n")
    settings = {
        **settings_for_tls(layout),
        "ORCHESTRATOR_TLS_DENY_LIST": str(served.deny_list),
        "ORCHESTRATOR_METRICS_ENABLED": "true",
        "ORCHESTRATOR_HTTP_ADDRESS": http,
        "ORCHESTRATOR_API_ADDRESS": api,
        "ORCHESTRATOR_API_IDENTITY": "certificate, token",
        "ORCHESTRATOR_CALLS_PER_ORGANIZATION": str(CALLS),
        "ORCHESTRATOR_HTTP_REQUEST_TIME": "2s",
        "ORCHESTRATOR_HTTP_CONNECTIONS_PER_ADDRESS": "30",
        "MEDIA_ROOT": str(folder / "media"),
        "VALID_DATA_PARTNERS": "org-2,org-3,org-4",
        "ORCHESTRATOR_EXECUTIONS_ORGANIZATION": "org-1",
    }
    with serving(folder, database, CHANNELS, settings, layout.client("org-1").credentials()) as served.grpc:
        yield served
