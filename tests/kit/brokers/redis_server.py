"""Redis and Valkey servers of several versions: the wheel's, the one that is installed or Debian's, and those that a
developer names in ORCHESTRATOR_TESTS_REDIS, separated by colons."""

import os
import shutil
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from orchestrator.embedded.certificates import Layout
from orchestrator.embedded.ports import HOST, free_port
from orchestrator.embedded.processes import Process
from tests.kit.debian import obtained

PACKAGE = "redis-server"


def debian() -> Path:
    """Return the server that is installed; Debian's is installed if it is missing and can be.

    Raises:
        AbsentError: it is missing and cannot be.
    """
    return Path(obtained(PACKAGE, lambda: shutil.which(PACKAGE)))


def named() -> list[Path]:
    """Return the servers that a developer names."""
    return [Path(name) for name in os.environ.get("ORCHESTRATOR_TESTS_REDIS", "").split(":") if name]


class RedisServer:
    """A server with its default configuration, on a port of 127.0.0.1; no password.

    Args:
        binary: the program.
        folder: for its log.
        certificates: those of a federation, whose first server certificate it shows; without them there is no TLS.
        more: more of its arguments.
    """

    def __init__(self, binary: Path, folder: Path, *more: str, certificates: Layout | None = None) -> None:
        self.port = free_port()
        plain = 0 if certificates else self.port
        arguments = ["--port", str(plain), "--bind", HOST, "--save", "", "--dir", str(folder), *more]
        if certificates is not None:
            pair = certificates.server
            arguments += ["--tls-port", str(self.port), "--tls-auth-clients", "no"]
            arguments += ["--tls-cert-file", str(pair.certificate), "--tls-key-file", str(pair.key)]
            arguments += ["--tls-ca-cert-file", str(certificates.server.authority)]
        self.process = Process("redis", [str(binary), *arguments], log=folder / "redis.log")

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def client(self) -> redis.Redis:
        """Return a client that gives up at once."""
        return redis.Redis.from_url(self.url, decode_responses=True, retry=Retry(NoBackoff(), 0))

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.process.start()
        self.process.wait_ready(lambda: "Ready to accept connections" in self.process.log.read_text(errors="replace"))

    def stop(self) -> None:
        """End it."""
        self.process.stop()
