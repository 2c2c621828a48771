"""A Redis that answers every command with an error for a while, as one does that loads its data or lost its cluster."""

import socket
import threading
from contextlib import suppress
from socketserver import StreamRequestHandler, ThreadingTCPServer
from types import TracebackType
from typing import BinaryIO, Self

from orchestrator.embedded.ports import HOST

_CHUNK = 64 * 1024


class RefusingProxy:
    """Passes commands on to a Redis or Valkey on this machine, or answers them itself.

    Args:
        port: of the server.

    Attributes:
        port: where commands come in.
        error: what each command is answered with, as in `LOADING Redis is loading`; passed on while it is empty.
        refused: how many were answered so.
    """

    def __init__(self, port: int) -> None:
        proxy = self

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):
                    proxy._pass(self.rfile, self.request, port)

        self._server = ThreadingTCPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        # Connections of programs that live longer are not waited for.
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, name="refusing proxy")
        self.port = self._server.server_address[1]
        self.error = ""
        self.refused = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _pass(self, commands: BinaryIO, client: socket.socket, port: int) -> None:
        with socket.create_connection((HOST, port)) as server:
            threading.Thread(target=_copy, args=(server, client), daemon=True).start()
            while command := _read(commands):
                if self.error:
                    self.refused += 1
                    client.sendall(f"-{self.error}\r\n".encode())
                else:
                    server.sendall(command)


def _copy(server: socket.socket, client: socket.socket) -> None:
    with suppress(OSError):
        while answer := server.recv(_CHUNK):
            client.sendall(answer)
        client.shutdown(socket.SHUT_RDWR)


def _read(commands: BinaryIO) -> bytes:
    """Return one command as it came: a list of texts, each after its length (RESP)."""
    head = commands.readline()
    words = [head]
    for _ in range(int(head[1:] or 0)):
        length = commands.readline()
        words += [length, commands.read(int(length[1:]) + 2)]
    return b"".join(words)
