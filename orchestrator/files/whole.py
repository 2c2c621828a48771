"""Files that are written all at once: a reader sees what was there or what is new, never a part."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

PRIVATE, PUBLIC = 0o600, 0o644


@contextmanager
def replaced(path: Path, mode: int = PRIVATE) -> Iterator[IO[bytes]]:
    """Write a file beside another, and take its place when the block has ended well and all bytes are on the disk.

    Args:
        path: its folder is there.
        mode: who may read it, when it is whole: keys and passwords are for their owner only.

    Raises:
        OSError: the folder is missing, full or not writable.
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), mode)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write(path: Path, content: bytes, mode: int = PRIVATE) -> None:
    """Write a file all at once; see `replaced`."""
    with replaced(path, mode) as file:
        file.write(content)


@contextmanager
def about_to_write(path: Path, content: bytes) -> Iterator[None]:
    """Write a file when the block has ended well; that there is room for it shows before the block.

    Raises:
        OSError: see `replaced`.
    """
    with replaced(path) as file:
        file.write(content)
        file.flush()
        yield
