"""What a function keeps and runs, measured while it runs: these are limits that the kernel does not know."""

import os
import stat
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from workers import processes

_PERIOD_SECONDS = 0.25
# Measuring may take this share of the time: folders can hold a million files.
_SHARE = 0.1
_BLOCK = 512


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
        self._next = 0.0

    def look(self, launcher: int | None) -> str:
        """Return which limit is exceeded, a sentence; nothing while all are kept, or when it is too soon to look.

        Args:
            launcher: the process that the function's descend from; None when all have ended, for a last look.
        """
        begun = time.monotonic()
        if launcher is not None and begun < self._next:
            return ""
        run = {} if launcher is None else processes.below(launcher)
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
    """Return the bytes and the number of what lies in the folders; it stops counting at the most files."""
    size, files, seen = 0, 0, set()
    waiting = [os.fspath(folder) for folder in folders]
    while waiting and files <= most:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    files += 1
                    if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
                        if (status.st_dev, status.st_ino) in seen:
                            continue
                        seen.add((status.st_dev, status.st_ino))
                    size += status.st_blocks * _BLOCK
                    if stat.S_ISDIR(status.st_mode):
                        waiting.append(entry.path)
                    if files > most:
                        break
        except (FileNotFoundError, NotADirectoryError):
            # It went while we looked.
            continue
    return size, files


def _unnamed(run: Iterable[int], folders: Sequence[Path]) -> int:
    """Return the bytes of files that were deleted and are still open: they fill the disk as others do."""
    devices = {folder.stat().st_dev for folder in folders if folder.exists()}
    sizes: dict[tuple[int, int], int] = {}
    for pid in run:
        try:
            with os.scandir(f"/proc/{pid}/fd") as entries:
                for entry in entries:
                    status = entry.stat()
                    if not status.st_nlink and stat.S_ISREG(status.st_mode) and status.st_dev in devices:
                        sizes[status.st_dev, status.st_ino] = status.st_blocks * _BLOCK
        except OSError:
            # The process or the file went while we looked; or it is another user's, as a set-user-id program's.
            continue
    return sum(sizes.values())
