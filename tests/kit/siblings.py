"""The processes of one server, and connections to one of them that the test chooses."""

import contextlib
from collections.abc import Iterator

import grpc
import psutil

from tests.kit.processes import lives
from tests.kit.waiting import wait_until

START_SECONDS = 60
# The kernel chooses; each turn misses half of the processes of two.
_TURNS = 60
_OWN = [("grpc.use_local_subchannel_pool", 1)]


class Siblings:
    """What a server's supervisor has started.

    Args:
        address: host:port of its gRPC.
        credentials: of connections to it; without them they are plain.
    """

    def __init__(self, address: str, credentials: grpc.ChannelCredentials | None = None) -> None:
        self._address = address
        self._credentials = credentials
        (self.supervisor,) = (
            child
            for child in psutil.Process().children()
            if "serve" in child.cmdline() and child.environ().get("ORCHESTRATOR_GRPC_ADDRESS") == address
        )

    def listening(self, address: str = "") -> list[psutil.Process]:
        """Return those that listen on an address, the server's gRPC by default."""
        return [each for each in self._living() if _connections(each, _port(address or self._address), "LISTEN")]

    def all_of(self, count: int) -> list[psutil.Process]:
        """Return all, once so many listen."""
        return wait_until(lambda: all_ if len(all_ := self.listening()) == count else None, START_SECONDS, "all")

    @contextlib.contextmanager
    def channel_to(self, process: psutil.Process) -> Iterator[grpc.Channel]:
        """Connect to one of them."""
        port = _port(self._address)
        for _ in range(_TURNS):
            before = _connections(process, port, "ESTABLISHED")
            with self._connected() as channel:
                grpc.channel_ready_future(channel).result(START_SECONDS)
                if _connections(process, port, "ESTABLISHED") - before:
                    yield channel
                    return
        raise AssertionError(f"no connection to {self._address} came to {process.pid}")

    def _connected(self) -> grpc.Channel:
        if self._credentials is None:
            return grpc.insecure_channel(self._address, _OWN)
        return grpc.secure_channel(self._address, self._credentials, _OWN)

    def _living(self) -> list[psutil.Process]:
        return [child for child in self.supervisor.children() if lives(child)]


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def _connections(process: psutil.Process, port: int, status: str) -> set[int]:
    """Return the ports of those who are connected to a port of a process; of who listens, that they do."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return {
            each.raddr.port if each.raddr else port
            for each in process.net_connections("tcp")
            if each.laddr.port == port and each.status == status
        }
    return set()
