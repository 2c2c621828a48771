"""Files of schemas and executions, in a folder or a bucket; each under a name of its own, never replaced."""

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, cast
from uuid import UUID

import fsspec

from orchestrator import protos as pb
from orchestrator.executions.files.uploads import Upload


class Files:
    """Where files are kept.

    Args:
        url: of a folder, local or of any storage that fsspec knows.
    """

    def __init__(self, url: str) -> None:
        self._system, root = fsspec.core.url_to_fs(url)
        self._root = str(root).rstrip("/")
        self._system.makedirs(self._root, exist_ok=True)
        self._is_local = "file" in self._system.protocol
        self.staging = Path(self._root, ".incoming") if self._is_local else Path(tempfile.gettempdir())
        """Where uploads lie until they are kept."""
        self.staging.mkdir(mode=0o700, exist_ok=True)

    def keep(self, upload: Upload) -> pb.StoredFile:
        """Keep an uploaded file, and return what stands for it; the upload stays, too.

        Raises:
            OSError: it cannot be written.
        """
        key = str(uuid.uuid4())
        if self._is_local:
            os.link(upload.path, self._place(key))
        else:
            self._system.put_file(str(upload.path), self._place(key))
        return pb.StoredFile(key=key, name=upload.name, size=upload.size)

    def open(self, file: pb.StoredFile) -> BinaryIO:
        """Open a file for reading.

        Raises:
            OSError: it is not there, or cannot be read.
        """
        return cast(BinaryIO, self._system.open(self._place(file.key), "rb"))

    def remove(self, keys: Iterable[UUID]) -> None:
        """Remove files; those that are gone are passed over."""
        for key in keys:
            with contextlib.suppress(FileNotFoundError):
                self._system.rm_file(self._place(str(key)))

    def old(self, before: datetime) -> list[UUID]:
        """Return the keys of the files that were kept before a moment."""
        listed: list[dict[str, Any]] = self._system.ls(self._root, detail=True)
        found = []
        for each in listed:
            if each["type"] == "file" and self._system.modified(each["name"]).timestamp() < before.timestamp():
                with contextlib.suppress(ValueError):
                    # What somebody else put there stays.
                    found.append(UUID(Path(each["name"]).name))
        return found

    def remove_incoming(self, before: datetime) -> int:
        """Remove uploads that nobody has written to since a moment: their request was cut off; return of how many."""
        if not self._is_local:
            # Others write to the folder of temporary files, too.
            return 0
        gone = 0
        for folder in self.staging.iterdir():
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                written = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
                if written < before.timestamp():
                    shutil.rmtree(folder)
                    gone += 1
        return gone

    def _place(self, key: str) -> str:
        return f"{self._root}/{key}"
