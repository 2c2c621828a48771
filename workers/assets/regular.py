"""Opens what somebody else may have put there: an ordinary file, or nothing."""

import os
import stat
from pathlib import Path
from typing import IO

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class IrregularFileError(OSError):
    """A path that leads to no ordinary file; the message says what is there, as in `a pipe`."""


def open_regular(path: Path, names: int | None = 1) -> IO[bytes]:
    """Open a file for reading: neither a link, nor anything that could keep the reader waiting.

    The folder that it lies in may be no link either: who may write there could have put one in its place.

    Args:
        path: the file.
        names: how many names (hard links) it may have: with another it may be a file of somebody else's. None: any.

    Raises:
        FileNotFoundError: there is nothing.
        IrregularFileError: there is something else.
        OSError: it cannot be opened.
    """
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except NotADirectoryError as error:
        raise IrregularFileError("in a folder that is a link") from error
    try:
        if stat.S_ISLNK(os.lstat(path.name, dir_fd=folder).st_mode):
            raise IrregularFileError("a link")
        # Not blocked by a pipe that nobody writes to; a socket cannot be opened at all.
        descriptor = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if isinstance(error, FileNotFoundError | IrregularFileError | PermissionError):
            raise
        raise IrregularFileError("a link, a socket or a device") from error
    finally:
        os.close(folder)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and (names is None or status.st_nlink <= names):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    what = _KINDS.get(stat.S_IFMT(status.st_mode), "a file with other names (hard links) elsewhere")
    raise IrregularFileError(what)
