"""Connections that anybody may open to an HTTP server of ours, and how few of them, and for how long.

A connection costs memory before anybody knows whose it is, a quarter of a megabyte with TLS; so what is too much is
closed as soon as it is taken, before TLS and HTTP hear of it.
"""

import asyncio
import contextlib
import ipaddress
import os
import resource
import socket
import ssl
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from orchestrator.core import liveness

_STALLED_SECONDS = 60.0
# Whose machine is gone says no more than who waits for an answer: it is asked now and then, and is gone after as long.
_LIVELY = liveness.options(idle=20, interval=10, probes=4, unanswered=int(_STALLED_SECONDS))
_OTHER_FILES = 1024


@dataclass(frozen=True)
class Limits:
    """Of the connections of one server.

    Args:
        connections: most in all.
        of_one: most from one address.
        seconds: how long the TLS handshake may take, and after it a request's line and headers.
    """

    connections: int
    of_one: int
    seconds: float


class Listener(socket.socket):
    """A socket that listens, and closes at once what is more than its limits.

    Args:
        address: host:port; the host may be an IPv6 address in brackets, `[::]` for all of both kinds.
        limits: of the connections.
        shared: whether others of its kind may listen there too.

    Raises:
        OSError: the address cannot be listened on.
    """

    def __init__(self, address: str, limits: Limits, *, shared: bool = False) -> None:
        # Only where the protocol is named does asyncio send at once what is written (TCP_NODELAY). Else the body of an
        # answer waits until the client acknowledges its headers, which a client takes its time for: 40 ms.
        super().__init__(_family(address), socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._limits = limits
        self._counts: Counter[str] = Counter()
        try:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
            _bind(self, address)
            self.listen(min(1024, 2 * limits.connections))
        except BaseException:
            self.close()
            raise

    def accept(self) -> tuple[socket.socket, Any]:
        """Take the next connection that is within the limits."""
        while True:
            connection, address = super().accept()
            peer = _peer(address[0])
            if self._counts.total() < self._limits.connections and self._counts[peer] < self._limits.of_one:
                self._counts[peer] += 1
                _watch_over(connection)
                return _Counted(connection, self._counts, peer), address
            connection.close()


def make_room(connections: int) -> None:
    """Let this process have so many connections open besides what it has, as far as the system allows it.

    Where no more than a thousand open files is what a process begins with, the next connection would fail.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def hang_up(address: str) -> None:
    """End all that listens on an address in this process, whoever made it, and then the connections that it took.

    A client sees that its connection has ended, after what was written to it.

    Args:
        address: host:port, as a listener's.
    """
    _, port = _split(address)
    hosts = set[str]()
    # What is about to be taken is refused, or among the connections.
    for listens in (True, False):
        for each in _sockets():
            with each, contextlib.suppress(OSError):
                name = each.getsockname()
                if (
                    name[1:2] != (port,)
                    or bool(each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)) is not listens
                ):
                    continue
                if listens:
                    hosts.add(name[0])
                # Elsewhere a connection of our own may have the same port.
                if hosts & {name[0], "0.0.0.0", "::"}:  # noqa: S104 - nothing is bound to it
                    each.shutdown(socket.SHUT_RDWR)


def _sockets() -> Iterator[socket.socket]:
    """Yield all sockets of this process, as further descriptors of them, which the caller closes."""
    descriptors = Path("/dev/fd")
    for each in descriptors.iterdir() if descriptors.is_dir() else ():
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(int(each.name)).st_mode):
                yield socket.socket(fileno=os.dup(int(each.name)))


def hold(address: str) -> socket.socket:
    """Return a socket that does not listen, and keeps an address for those of the same user that share it.

    Args:
        address: host:port, as a listener's.

    Raises:
        OSError: somebody listens there, or holds it.
    """
    holder = socket.socket(_family(address), socket.SOCK_STREAM)
    try:
        _bind(holder, address)
        # Not before: then it would share what others have. From now on only who shares may listen.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except BaseException:
        holder.close()
        raise
    return holder


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _family(address: str) -> socket.AddressFamily:
    return socket.getaddrinfo(*_split(address), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]


def _bind(unbound: socket.socket, address: str) -> None:
    host, port = _split(address)
    unbound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if unbound.family == socket.AF_INET6:
        unbound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
    unbound.bind((host, port))


def _watch_over(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _LIVELY.items():
        connection.setsockopt(socket.IPPROTO_TCP, option, value)


class _Counted(socket.socket):
    """A connection that counts until it is closed."""

    def __init__(self, connection: socket.socket, counts: Counter[str], peer: str) -> None:
        super().__init__(connection.family, connection.type, connection.proto, fileno=connection.detach())
        self._counts = counts
        self._peer = peer

    def close(self) -> None:
        """Close it."""
        self._end()
        super().close()

    def detach(self) -> int:
        """Leave it to who closes it in its stead, as uvloop does."""
        self._end()
        return super().detach()

    def _end(self) -> None:
        if self.fileno() >= 0:
            self._counts[self._peer] -= 1
            if not self._counts[self._peer]:
                del self._counts[self._peer]


def _peer(address: str) -> str:
    """Return whom an address is of: who has an IPv6 address has the 2^64 of its network (RFC 4291, 2.5.1)."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


class Protocol(H11Protocol):
    """HTTP/1.1 that ends the connections of clients that are too slow.

    uvicorn itself waits for ever for the rest of a request's headers, and for a client that does not read.
    """

    patience: ClassVar[float] = 10.0
    """Seconds that a request's line and headers may take."""

    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End all waiting."""
        self._stop_watching()
        _cancel(self._stalled)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Read what has come of requests."""
        super().handle_events()
        self._watch()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._watch()

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: who offers another protocol is answered by this one (RFC 9110, 7.8), as Java's clients ask."""

    def _watch(self) -> None:
        waits = self.cycle is None or self.cycle.response_complete
        if not waits:
            self._stop_watching()
        elif self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.patience, self.transport.abort)

    def _stop_watching(self) -> None:
        _cancel(self._deadline)
        self._deadline = None

    def pause_writing(self) -> None:
        """Wait for a client that does not read, for a limited time."""
        super().pause_writing()
        self._stalled = self.loop.call_later(_STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on writing."""
        _cancel(self._stalled)
        super().resume_writing()


class IdentifyingProtocol(Protocol):
    """Gives each request the certificates that the client of its connection showed, which uvicorn does not."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Note what was shown in `request.state.presented`, its own first; nothing without TLS."""
        super().connection_made(transport)
        connection = transport.get_extra_info("ssl_object")
        shown = presented(connection) if connection else ()
        # A copy: the state that uvicorn hands in is that of all connections.
        self.app_state = {**self.app_state, "presented": shown}


def presented(connection: ssl.SSLObject) -> tuple[bytes, ...]:
    """Return the certificates that the peer of a connection showed, its own first."""
    if connection.getpeercert(binary_form=True) is None:
        # Asked for the chain of a peer that showed none, Python gives one with nothing in it.
        return ()
    if hasattr(connection, "get_unverified_chain"):
        return tuple(connection.get_unverified_chain())
    # Public from Python 3.13 on only; below, the certificates are objects.
    chain = connection._sslobj.get_unverified_chain() or ()  # type: ignore[attr-defined]
    return tuple(ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in chain)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def runner(limits: Limits) -> asyncio.Runner:
    """Return what runs a server whose TLS handshakes have a time limit, which uvicorn does not hand on."""

    class Loop(asyncio.SelectorEventLoop):
        async def create_server(self, *arguments: Any, **options: Any) -> asyncio.Server:
            if options.get("ssl") is not None:
                options.setdefault("ssl_handshake_timeout", limits.seconds)
            return await super().create_server(*arguments, **options)

    return asyncio.Runner(loop_factory=Loop)
