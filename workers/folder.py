"""Working folders: fresh for each attempt or build, gone afterwards."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def working_folder(parent: Path, name: str) -> Iterator[Path]:
    """Make an empty folder that only this user may enter; remove it and all in it at the end.

    Args:
        parent: is made where it is missing.
        name: a prefix of the folder's name, for people.
    """
    folder = parent.absolute() / f"{name}-{uuid.uuid4().hex[:12]}"
    folder.mkdir(parents=True, mode=0o700)
    try:
        yield folder
    finally:
        remove(folder)


def remove(folder: Path) -> None:
    """Remove a folder and all in it, also what a function has locked by its mode; absent is no error."""
    for path, names, _ in os.walk(folder):
        for name in names:
            child = Path(path, name)
            if not child.is_symlink():
                child.chmod(0o700)
    if folder.exists():
        shutil.rmtree(folder)
