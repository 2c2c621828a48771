"""The files that people decide by, as bytes."""

import os
import stat
from pathlib import Path

from orchestrator.core.documents import DocumentError

_LARGEST = 1024 * 1024


def read(path: Path) -> bytes:
    """Return what is in a file.

    Raises:
        DocumentError: it is no file, or larger than one that people wrote.
        OSError: it cannot be read.
    """
    # A pipe that somebody put there would be waited for.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise DocumentError(f"{path}: it is no file; a file in YAML is expected")
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise DocumentError(f"{path}: it is larger than {_LARGEST} bytes")
    return content
