"""A server process of its own for the tests, with plain gRPC or mutual TLS."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import grpc
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orchestrator.embedded.ports import free_port

START_SECONDS = 30
STOP_SECONDS = 40
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def connect(address: str, credentials: grpc.ChannelCredentials | None = None) -> grpc.Channel:
    """Return a connection without a limit on the size of messages; plain without credentials."""
    if credentials is None:
        return grpc.insecure_channel(address, UNLIMITED)
    return grpc.secure_channel(address, credentials, UNLIMITED)


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
    channel_config = folder / "channels.yaml"
    channel_config.write_text(yaml.safe_dump({"channels": dict(channels)}))
    address = address or f"127.0.0.1:{free_port()}"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
    environment = {
        **inherited,
        "ORCHESTRATOR_DATABASE_URL": database_url,
        "ORCHESTRATOR_CHANNEL_CONFIG": str(channel_config),
        "ORCHESTRATOR_GRPC_ADDRESS": address,
        "ORCHESTRATOR_HTTP_ADDRESS": f"127.0.0.1:{free_port()}",
        **(settings or {}),
    }
    command = [sys.executable, "-m", module]
    if migrate:
        migration = subprocess.run([*command, "migrate"], env=environment, capture_output=True, timeout=60)
        assert migration.returncode == 0, migration.stderr.decode()
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen([*command, "serve"], env=environment, stdout=output, stderr=output)
    try:
        with connect(address, credentials) as transport:
            _await_health(transport, process, log)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


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
