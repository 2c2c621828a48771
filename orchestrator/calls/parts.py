"""A request that comes in parts: they wait in a file until the last is there, and are read as often as needed."""

import tempfile
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

Part = TypeVar("Part")

LARGEST_PART = 4 * 1024 * 1024
"""Most bytes of a part."""

_IN_MEMORY = 1024 * 1024


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


class Parts(Generic[Part]):
    """The parts of a request, read anew each time that they are iterated over.

    Args:
        kept: as they came.
        read: from the bytes of a part to the part; raises BadRequestError.
    """

    def __init__(self, kept: Kept, read: Callable[[bytes], Part]) -> None:
        self._kept = kept
        self._read = read

    def __iter__(self) -> Iterator[Part]:
        return map(self._read, self._kept)
