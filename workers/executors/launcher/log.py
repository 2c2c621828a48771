"""The log of a command, with a limit."""

import os
import select

_CHUNK = 64 * 1024
# Of a log that is cut the end is kept too: it says why a function failed.
_TAIL = 64 * 1024
_SHOWN = 200


class Cut:
    """What a command says, cut to a limit: its beginning and its end.

    Args:
        size: bytes that are kept.
        output: a descriptor to write to.
    """

    def __init__(self, size: int, output: int) -> None:
        self._size = size
        self._output = output
        self._room = max(size - _TAIL, size // 2)
        self._tail = bytearray()
        self._missing = 0

    def take(self, chunk: bytes) -> None:
        """Take what was said since."""
        kept, rest = chunk[: self._room], chunk[self._room :]
        self._room -= len(kept)
        rest = self._write(kept) + rest
        self._tail += rest
        surplus = len(self._tail) - min(_TAIL, self._size // 2)
        if surplus > 0:
            self._missing += surplus
            del self._tail[:surplus]

    def end(self) -> None:
        """Write the end of what was said, and how much is missing before it. Nobody says anything any more."""
        if self._missing:
            self._write(f"\n[{self._missing} bytes are cut from this log here: it may have {self._size}]\n".encode())
        self._write(bytes(self._tail))

    def _write(self, text: bytes) -> bytes:
        """Return what could not be written, as on a full disk: the command is to go on."""
        try:
            while text:
                text = text[os.write(self._output, text) :]
        except OSError:
            self._room = 0
        return text


class Log:
    """What the command says, on its way to standard error.

    Args:
        size: bytes that are kept.

    Attributes:
        reader: becomes readable when something was said.
        writer: for the command.
        last: what was said last, a part of it.
    """

    def __init__(self, size: int) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self._cut = Cut(size, 2)
        self.last = b""

    def pass_on(self) -> bool:
        """Pass on what was said since; return whether more may come."""
        try:
            chunk = os.read(self.reader, _CHUNK)
        except BlockingIOError:
            return True
        self._cut.take(chunk)
        self.last = chunk[-_SHOWN:] or self.last
        return bool(chunk)

    def end(self) -> None:
        """Write the end of what was said, and how much is missing before it. Nobody says anything any more.

        The descriptor is closed.
        """
        while self.pass_on() and select.select([self.reader], [], [], 0)[0]:
            pass
        self._cut.end()
        os.close(self.reader)
