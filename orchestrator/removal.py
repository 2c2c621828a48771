"""Removes folders whatever somebody made of them: by descriptors and without recursion. Imports nothing of ours."""

import os
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PATIENCE_SECONDS = 5.0
_PAUSE_SECONDS = 0.05


def remove(folder: Path) -> None:
    """Remove a folder and all in it, however deep, and also what was locked by its mode; absent is no error.

    A symbolic link is removed, and what it points to is left alone. Folders in folders are first moved to the top, one
    by one, so that neither the length of a path nor the number of open files limits the depth.

    Args:
        folder: what to remove.

    Raises:
        OSError: something in it cannot be removed.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while os.path.lexists(folder):
        try:
            _remove(folder)
        except PermissionError:
            raise
        except OSError:
            # Files come and go while the last process of a killed group ends.
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)


def _remove(folder: Path) -> None:
    if not stat.S_ISDIR(os.lstat(folder).st_mode):
        folder.unlink()
        return
    folder.chmod(0o700)
    with _opened(folder) as top:
        while names := os.listdir(top):  # noqa: PTH208 - by its descriptor
            for name in names:
                if _is_folder(name, top):
                    _flatten(name, top)
                else:
                    os.unlink(name, dir_fd=top)
    folder.rmdir()


def _flatten(name: str, top: int) -> None:
    """Remove a folder of the top one; the folders in it are moved up to where it was."""
    os.chmod(name, 0o700, dir_fd=top)
    with _opened(name, top) as inner:
        for each in os.listdir(inner):  # noqa: PTH208
            if _is_folder(each, inner):
                # A folder can only be moved by who may write to it: its parent is an entry in it.
                os.chmod(each, 0o700, dir_fd=inner)
                os.rename(each, uuid.uuid4().hex, src_dir_fd=inner, dst_dir_fd=top)
            else:
                os.unlink(each, dir_fd=inner)
    with suppress(FileNotFoundError):
        os.rmdir(name, dir_fd=top)


def _is_folder(name: str, place: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=place, follow_symlinks=False).st_mode)


@contextmanager
def _opened(folder: Path | str, place: int | None = None) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
