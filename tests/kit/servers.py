"""A server process of its own for the tests, with plain gRPC or mutual TLS."""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import grpc
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

import migrations
from orchestrator.embedded.certificates import Layout
from orchestrator.embedded.ports import free_port
from tests.kit import processes
from tests.kit.transports import connect

START_SECONDS = 120


def settings_for_tls(layout: Layout) -> dict[str, str]:
    """Return the settings of a server that asks for certificates and holds them against the caller."""
    return {
        "ORCHESTRATOR_TLS_ENABLED": "true",
        "ORCHESTRATOR_TLS_CERT_PATH": str(layout.server.certificate),
        "ORCHESTRATOR_TLS_KEY_PATH": str(layout.server.key),
        "ORCHESTRATOR_MTLS_ENABLED": "true",
        "ORCHESTRATOR_TLS_CLIENT_CA_CERT_DIR": str(layout.client_authorities),
        "ORCHESTRATOR_VERIFY_CLIENT_MSP_ID": "true",
    }


@contextmanager
def serving(
    folder: Path,
    database_url: str,
    channels: Mapping[str, list[str]],
    settings: Mapping[str, str] | None = None,
    credentials: grpc.ChannelCredentials | None = None,
    address: str | None = None,
    module: str = "orchestrator",
    migrate: bool = True,
) -> Iterator[str]:
    """Run `orchestrator serve` on a fresh database, or one that it has used before, and end it afterwards.

    Args:
        folder: where the channel file and the log go.
        database_url: a database without tables, or with ours.
        channels: channel -> organizations.
        settings: more settings, by their whole name.
        credentials: of a client that may ask for the server's health.
        address: host:port to listen on; a free port by default.
        module: that is run as a program: the code.
        migrate: whether the database is brought up to date before.

    Returns:
        host:port of the server.
    """
    address = address or f"127.0.0.1:{free_port()}"
    with server_process(folder, database_url, channels, address, settings, credentials, module, migrate=migrate):
        yield address


@contextmanager
def server_process(
    folder: Path,
    database_url: str,
    channels: Mapping[str, list[str]],
    address: str,
    settings: Mapping[str, str] | None = None,
    credentials: grpc.ChannelCredentials | None = None,
    module: str = "orchestrator",
    *,
    migrate: bool = True,
) -> "Iterator[subprocess.Popen[bytes]]":
    """Run one and return its process, which may be killed; see `serving`."""
    channel_config = folder / "channels.yaml"
    channel_config.write_text(yaml.safe_dump({"channels": dict(channels)}))
    settings = {
        "ORCHESTRATOR_DATABASE_URL": database_url,
        "ORCHESTRATOR_CHANNEL_CONFIG": str(channel_config),
        "ORCHESTRATOR_GRPC_ADDRESS": address,
        "ORCHESTRATOR_HTTP_ADDRESS": f"127.0.0.1:{free_port()}",
        **(settings or {}),
    }
    command = [sys.executable, "-m", module]
    if migrate:
        migrations.upgrade(database_url)
    log = folder / "server.log"
    with processes.running([*command, "serve"], settings, log) as process:
        with connect(address, credentials) as transport:
            _await_health(transport, process, log)
        yield process


def _await_health(transport: grpc.Channel, process: subprocess.Popen[bytes], log: Path) -> None:
    health = health_pb2_grpc.HealthStub(transport)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            answer = health.Check(health_pb2.HealthCheckRequest(), timeout=1, wait_for_ready=True)
        except grpc.RpcError:
            continue
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            return
    raise AssertionError(f"the server does not serve (exit code {process.poll()}):\n{log.read_text()}")
