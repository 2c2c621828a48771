"""A request in parts, which are read as often as needed, so that few of them are in memory at once, parsed.

One that comes in parts waits in a file until the last is there; one that comes whole is cut.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

from orchestrator.core import wire

Part = TypeVar("Part")

LARGEST_PART = 4 * 1024 * 1024
"""Most bytes of a part."""

_IN_MEMORY = 1024 * 1024
_CUT = 256 * 1024


class Kept:
    """Parts as they came; small ones in memory, else in a temporary file, which is gone at the end of the block."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed at the end of the block
        self._sizes: list[int] = []
        self.bytes = 0

    def add(self, part: bytes) -> None:
        """Keep a part."""
        self._file.write(part)
        self._sizes.append(len(part))
        self.bytes += len(part)

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(0)
        for size in self._sizes:
            yield self._file.read(size)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


class Cut:
    """The parts of a request that came whole, and is a list.

    Args:
        body: as it came.
        number: of the field that is the list.
    """

    def __init__(self, body: bytes, number: int) -> None:
        self._body = body
        self._number = number

    def __iter__(self) -> Iterator[bytes]:
        return wire.cut(self._body, self._number, _CUT)


class Parts(Generic[Part]):
    """The parts of a request, read anew each time that they are iterated over.

    Args:
        kept: as they came.
        read: from the bytes of a part to the part; raises BadRequestError.
    """

    def __init__(self, kept: Iterable[bytes], read: Callable[[bytes], Part]) -> None:
        self._kept = kept
        self._read = read

    def __iter__(self) -> Iterator[Part]:
        return map(self._read, self._kept)
