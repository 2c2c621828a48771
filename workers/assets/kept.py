"""Files of peers that were fetched before, so that one task after another need not fetch the same archive."""

import os
import re
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

import structlog

log = structlog.get_logger()

_CHECKSUM = re.compile(r"[0-9a-f]{64}")


class Kept:
    """A folder of files by their SHA-256, of which the longest unused go first.

    Several processes use it at once. Whoever takes a file from it verifies it as if it had been fetched, and has asked
    who may have it: the folder knows nothing of that.

    Args:
        folder: is made where it is missing; nobody else may enter it.
        limit: bytes of all files together; 0 keeps none.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit

    def take(self, checksum: str, target: Path) -> bool:
        """Copy a file, if it is there.

        Args:
            checksum: its SHA-256.
            target: where to.

        Returns:
            Whether it was.

        Raises:
            OSError: it cannot be written there.
        """
        file = self._file(checksum)
        if file is None:
            return False
        try:
            os.utime(file)
        except OSError:
            return False
        with suppress(FileNotFoundError):
            shutil.copyfile(file, target)
            return True
        return False

    def put(self, checksum: str, source: Path) -> None:
        """Keep a file; a folder that cannot hold it is no fault.

        Args:
            checksum: its SHA-256, verified.
            source: the file.
        """
        file = self._file(checksum)
        if file is None or source.stat().st_size > self._limit:
            return
        draft = self._folder / f".{uuid.uuid4().hex}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            shutil.copyfile(source, draft)
            draft.replace(file)
            self._shrink()
        except OSError as error:
            log.warning("asset.not_kept", error=str(error))
            with suppress(OSError):
                draft.unlink(missing_ok=True)

    def forget(self, checksum: str) -> None:
        """Remove a file, if it is there."""
        file = self._file(checksum)
        if file is not None:
            file.unlink(missing_ok=True)

    def _file(self, checksum: str) -> Path | None:
        return self._folder / checksum if self._limit and _CHECKSUM.fullmatch(checksum) else None

    def _shrink(self) -> None:
        known = []
        for file in self._folder.iterdir():
            with suppress(FileNotFoundError):
                status = file.stat()
                known.append((status.st_mtime_ns, status.st_size, file))
        size = sum(each for _, each, _ in known)
        for _, each, file in sorted(known):
            if size <= self._limit:
                return
            file.unlink(missing_ok=True)
            size -= each
