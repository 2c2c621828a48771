"""What a function keeps and runs, measured while it runs: these are limits that the kernel does not know."""

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from workers.executors import strays

_PERIOD_SECONDS = 0.25
# Measuring may take this share of the time: folders can hold a million files.
_SHARE = 0.1
_BLOCK = 512
# Folders in folders; each that is looked into takes a descriptor.
_DEEPEST = 200


class Limits(Protocol):
    """The limits that are watched; see `executor.Limits`."""

    @property
    def folder_size(self) -> int:
        """Bytes."""

    @property
    def folder_files(self) -> int:
        """Files and folders."""

    @property
    def processes(self) -> int:
        """Processes and threads."""


class Quota:
    """Looks after one function.

    Args:
        folders: where it may write; those that are absent do not count.
        limits: what it may have in all of them.
    """

    def __init__(self, folders: Iterable[Path], limits: Limits) -> None:
        # One may lie in another, in tests.
        self._folders = tuple(dict.fromkeys(folders))
        self._limits = limits
        # What ends before is looked at when it has ended: to look at all processes takes longer than many a function.
        self._next = time.monotonic() + _PERIOD_SECONDS

    def look(self, launcher: int | None) -> str:
        """Return which limit is exceeded, a sentence; nothing while all are kept, or when it is too soon to look.

        Args:
            launcher: the process that the function's descend from; None where they cannot be seen.
        """
        return self._look(launcher) if time.monotonic() >= self._next else ""

    def last(self) -> str:
        """Return which limit is exceeded by what a function has left, all of whose processes have ended."""
        return self._look(None)

    def _look(self, launcher: int | None) -> str:
        begun = time.monotonic()
        run = {} if launcher is None else strays.below(launcher)
        limits = self._limits
        found = ""
        # The launcher's first child may be the sandbox's: neither it nor the first process in it are the function's.
        if sum(run.values()) > limits.processes + 2:
            found = f"the function was ended: it ran more than {limits.processes} processes and threads at once"
        else:
            found = self._measure(run)
        took = time.monotonic() - begun
        self._next = begun + max(_PERIOD_SECONDS, took / _SHARE)
        return found

    def _measure(self, run: Iterable[int]) -> str:
        limits = self._limits
        try:
            size, files = _kept(self._folders, limits.folder_files)
        except OSError as error:
            # Too deep for any path, or closed to us: what cannot be measured would be no limit.
            return f"the function was ended: what it keeps in its folders cannot be measured ({error.strerror})"
        if files > limits.folder_files:
            return f"the function was ended: it kept more than {limits.folder_files} files in its folders"
        if size + _unnamed(run, self._folders) > limits.folder_size:
            return f"the function was ended: it kept more than {limits.folder_size} bytes in its folders"
        return ""


def _kept(folders: Sequence[Path], most: int) -> tuple[int, int]:
    """Return the bytes and the number of what lies in the folders; it stops counting at the most files.

    By descriptors: the function may put a link in the place of a folder at any moment, and none is followed.

    Raises:
        OSError: it lies too deep, or is closed to us.
    """
    size, files = 0, 0
    seen: set[tuple[int, int]] = set()
    # The folders that are open, each in the one before it, and those in it that were not looked into yet.
    way: list[tuple[int | None, list[str]]] = [(None, [os.fspath(folder) for folder in folders if folder.exists()])]
    try:
        while way and files <= most:
            parent, names = way[-1]
            if not names:
                way.pop()
                if parent is not None:
                    os.close(parent)
                continue
            try:
                place = os.open(names.pop(), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
            except (FileNotFoundError, NotADirectoryError):
                # It went while we looked, or became something else.
                continue
            below: list[str] = []
            way.append((place, below))
            if len(way) > _DEEPEST:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
            for status, name in _entries(place):
                files += 1
                if stat.S_ISDIR(status.st_mode):
                    below.append(name)
                elif status.st_nlink > 1:
                    if (status.st_dev, status.st_ino) in seen:
                        continue
                    seen.add((status.st_dev, status.st_ino))
                size += status.st_blocks * _BLOCK
                if files > most:
                    break
    finally:
        for opened, _ in way:
            if opened is not None:
                os.close(opened)
    return size, files


def _entries(folder: int) -> Iterator[tuple[os.stat_result, str]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                yield entry.stat(follow_symlinks=False), entry.name


def _unnamed(run: Iterable[int], folders: Sequence[Path]) -> int:
    """Return the bytes of files that were deleted and are still open or mapped: they fill the disk as others do.

    Not those that lie in a message between two sockets: nothing tells of them.
    """
    devices = {folder.stat().st_dev for folder in folders if folder.exists()}
    sizes: dict[tuple[int, int], int] = {}
    for pid in run:
        # A process or a file may go while we look; and a set-user-id program's is another user's.
        with contextlib.suppress(OSError):
            for table in Path(f"/proc/{pid}/task").glob("*/fd"):
                for status in _opened(table):
                    if not status.st_nlink and stat.S_ISREG(status.st_mode) and status.st_dev in devices:
                        sizes[status.st_dev, status.st_ino] = status.st_blocks * _BLOCK
            for file, length in _mapped(Path(f"/proc/{pid}/maps")):
                if file[0] in devices:
                    sizes[file] = max(sizes.get(file, 0), length)
    return sum(sizes.values())


def _opened(table: Path) -> Iterator[os.stat_result]:
    with contextlib.suppress(OSError), os.scandir(table) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                yield entry.stat()


def _mapped(maps: Path) -> Iterator[tuple[tuple[int, int], int]]:
    """Yield device and inode of deleted files that are mapped, and the least length that each has."""
    for line in maps.read_text(errors="replace").splitlines():
        if line.endswith("(deleted)"):
            extent, _, offset, device, inode = line.split(maxsplit=5)[:5]
            begin, end = (int(bound, 16) for bound in extent.split("-"))
            major, minor = (int(number, 16) for number in device.split(":"))
            yield (os.makedev(major, minor), int(inode)), int(offset, 16) + end - begin
