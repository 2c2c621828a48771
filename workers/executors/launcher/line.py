"""The socket between a launcher and the worker: what is to run, orders, and what is answered."""

import json
import socket
from typing import Any, Self

_CHUNK = 64 * 1024


class Line:
    """A launcher's end; a context manager, which closes it.

    Args:
        descriptor: of the socket.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._socket = socket.socket(fileno=descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def say(self, number: int) -> None:
        """Tell a number: first our id, then `options.WAITS` when that is so, in the end the exit code.

        Raises:
            OSError: nobody listens any more.
        """
        self._socket.sendall(b"%d\n" % number)

    def order(self) -> tuple[bytes, list[int]]:
        """Return the next order and the descriptors that came with it; nothing when the worker gives no more."""
        try:
            order, descriptors, _, _ = socket.recv_fds(self._socket, 1, 1)
        except ConnectionError:
            return b"", []
        return order, descriptors

    def read(self) -> Any:
        """Return what the next line says, in JSON.

        Raises:
            EOFError: the worker has gone in the midst of it.
        """
        line = bytearray()
        while not line.endswith(b"\n"):
            # Not more than the line: what follows are orders.
            seen = self._socket.recv(_CHUNK, socket.MSG_PEEK)
            if not seen:
                raise EOFError("the worker has gone")
            line += self._socket.recv(seen.find(b"\n") + 1 or len(seen))
        return json.loads(line)
