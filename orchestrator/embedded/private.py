"""Files for the eyes of their owner only: keys and passwords."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_private(path: Path, content: bytes) -> None:
    """Write a file with mode 0600, all at once: a reader sees the old content or the new, never a part.

    Raises:
        OSError: the folder is missing, full or not writable.
    """
    with about_to_write(path, content):
        pass


@contextmanager
def about_to_write(path: Path, content: bytes) -> Iterator[None]:
    """Write a file as `write_private` does, when the block has ended well; that it can be written shows before it.

    Raises:
        OSError: the folder is missing, full or not writable.
    """
    # The process id keeps two writers apart; what a killed writer left behind is replaced.
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
