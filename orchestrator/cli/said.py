"""What a log says, on its way to standard output."""

import io
import sys
from collections.abc import Iterable

from orchestrator.cli import download

_LONGEST_LINE = 256 * 1024


class Said:
    """A log that is printed as it comes.

    Args:
        raw: whether each byte is printed as it was written.
    """

    def __init__(self, raw: bool) -> None:
        self._raw = raw
        self._line = b""

    def add(self, parts: Iterable[bytes]) -> None:
        """Print whole lines, since a letter may be cut in two, and one that is too long as it comes."""
        for part in parts:
            whole, end, self._line = (self._line + part).rpartition(b"\n")
            if len(self._line) > _LONGEST_LINE:
                whole, end, self._line = whole + end + self._line, b"", b""
            self._write(whole + end)

    def end(self) -> None:
        """Print what is left."""
        self._write(self._line)
        self._line = b""

    def _write(self, text: bytes) -> None:
        download.write(io.BytesIO(text), sys.stdout.buffer, self._raw)
