"""uvloop, whose servers take connections as their listener does: uvloop itself would take them past it."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Any

import uvloop

from orchestrator.listening import Limits, Listener

# As asyncio waits where the system has no more files.
_PAUSE = 1.0
_AT_ONCE = 100


def runner(limits: Limits) -> asyncio.Runner:
    """Return what runs a server in uvloop, where TLS handshakes have a time limit.

    Args:
        limits: of the connections of its listeners.
    """

    class Loop(uvloop.Loop):
        async def create_server(self, *arguments: Any, **options: Any) -> Any:
            listener = options.get("sock")
            if not isinstance(listener, Listener):
                return await super().create_server(*arguments, **options)
            return _Server(self, listener, arguments[0], options.get("ssl"), limits.seconds)

    return asyncio.Runner(loop_factory=Loop)


class _Server:
    """Takes the connections of a listener.

    Args:
        loop: that it runs in.
        listener: whose connections they are.
        protocol: makes the protocol of each.
        context: of TLS; None for none.
        seconds: that a TLS handshake may take.
    """

    def __init__(
        self,
        loop: uvloop.Loop,
        listener: Listener,
        protocol: Callable[[], asyncio.BaseProtocol],
        context: ssl.SSLContext | None,
        seconds: float,
    ) -> None:
        self._loop = loop
        self._listener = listener
        self._protocol = protocol
        self._tls: dict[str, Any] = {"ssl": context, "ssl_handshake_timeout": seconds} if context else {}
        self._beginning: set[asyncio.Task[None]] = set()
        self._closed = False
        listener.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Take no more."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._listener)
            for task in self._beginning:
                task.cancel()

    async def wait_closed(self) -> None:
        """Wait until those that have begun are taken, or closed."""
        if self._beginning:
            await asyncio.wait(self._beginning)

    def _listen(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listener, self._take)

    def _take(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._loop.remove_reader(self._listener)
                self._loop.call_later(_PAUSE, self._listen)
                raise
            connection.setblocking(False)
            task = self._loop.create_task(self._begin(connection))
            self._beginning.add(task)
            task.add_done_callback(self._beginning.discard)

    async def _begin(self, connection: socket.socket) -> None:
        # A handshake that fails, or takes too long, ends the connection; nobody else hears of it.
        with contextlib.suppress(OSError):
            await self._loop.connect_accepted_socket(self._protocol, connection, **self._tls)
