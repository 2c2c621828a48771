"""An organization's asset store: a local folder, or any place that fsspec knows by URL."""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from orchestrator.client import folders
from orchestrator.files import whole
from workers.assets.regular import IrregularFileError, open_regular

_CHUNK = 1024 * 1024
KEY = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# Data samples are absent on purpose: no name by which anything is served or fetched leads to them.
_SHAREABLE = re.compile(
    rf"functions/{KEY}/(?:archive|description)|data_managers/{KEY}/(?:opener|description)"
    rf"|models/{KEY}|logs/{KEY}-\d{{1,9}}|task_logs/{KEY}(?:/\d{{1,9}})?"
)


@dataclass(frozen=True)
class Stored:
    """A file in the store.

    Args:
        name: its name in the store.
        checksum: SHA-256, 64 hex digits.
        size: bytes.
    """

    name: str
    checksum: str
    size: int


def shareable(name: str) -> bool:
    """Say whether a name is one that peers may ask for; names of data samples never are."""
    return _SHAREABLE.fullmatch(name) is not None


def url(base: str, name: str) -> str:
    """Return the public address of a file.

    Args:
        base: the store's https URL.
        name: the file's name in the store.
    """
    return f"{base.rstrip('/')}/{name}"


def own_name(base: str, address: str) -> str | None:
    """Return the name of a file in the store with this base, None for addresses elsewhere."""
    prefix = f"{base.rstrip('/')}/"
    return address.removeprefix(prefix) if address.startswith(prefix) else None


class AssetStore:
    """The files of one organization, by name: `models/<key>`, `functions/<key>/archive`, and so on.

    Data samples are folders, `data_samples/<key>/`; they are read by the organization's own worker alone.

    Args:
        root: a folder, or an fsspec URL as in `s3://bucket/prefix` (its fsspec package must be installed).
    """

    def __init__(self, root: str) -> None:
        self._files, self._root = url_to_fs(root)
        self._local = isinstance(self._files, LocalFileSystem)

    @property
    def local(self) -> Path | None:
        """The folder of a store that is one of this machine."""
        return Path(self._root) if self._local else None

    def put(self, name: str, source: Path) -> Stored:
        """Copy a local file into the store; readers see all of it or nothing.

        Args:
            name: where to; what lies there is replaced.
            source: the file.

        Raises:
            IrregularFileError: it is a link, a device, or has another name elsewhere.
        """
        digest = hashlib.sha256()
        size = 0
        with open_regular(source) as file, self._writer(name) as copy:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
                copy.write(chunk)
        return Stored(name, digest.hexdigest(), size)

    def append(self, name: str, content: bytes, size: int) -> None:
        """Write to the end of a file of a store that is a folder; what was added is seen at once.

        Args:
            name: of the file, which is made where it is missing.
            content: what is added.
            size: bytes that it has before; with 0 what was there is forgotten.

        Raises:
            OSError: it cannot be written.
        """
        target = Path(self._path(name))
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            file.truncate(size)
            file.seek(size)
            while content:
                content = content[file.write(content) :]

    def take(self, name: str, source: Path) -> None:
        """Move a local file or folder, which is whole, into the store; nothing that is there is replaced.

        Args:
            name: where to.
            source: of the file system of a local store.

        Raises:
            FileExistsError: there is something of this name.
        """
        target = Path(self._path(name))
        if not self._local:
            if self.exists(name):
                raise FileExistsError(name)
            self._upload(source, str(target))
            return
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if source.is_dir():
            if target.exists():
                raise FileExistsError(name)
            # Onto a folder that has come since and has files, it fails.
            source.rename(target)
        else:
            # A renaming would replace what is there.
            target.hardlink_to(source)
            source.unlink()
        _settle(target.parent)

    def checksum(self, name: str) -> str | None:
        """Return the SHA-256 of a file, or the checksum of a folder; None where there is neither."""
        path = self._path(name)
        if self._local:
            local = Path(path)
            if local.is_dir():
                return folders.checksum((file.name, folders.digest(file.path)) for file in folders.files(local))
            return folders.digest(local) if local.is_file() else None
        if self._files.isdir(path):
            inner = self._files.find(path)
            return folders.checksum((each.removeprefix(f"{path}/"), self._digest(each)) for each in inner)
        return self._digest(path) if self._files.exists(path) else None

    def open(self, name: str) -> tuple[IO[bytes], int]:
        """Open a file for reading; return it and its size in bytes.

        Raises:
            FileNotFoundError: the store has no such file; a link, a pipe or a folder is none.
        """
        path = self._path(name)
        if self._local:
            try:
                # An administrator may link a file into the store by a second name, but not symbolically.
                local = open_regular(Path(path), names=None)
            except IrregularFileError as error:
                raise FileNotFoundError(name) from error
            return local, os.fstat(local.fileno()).st_size
        if self._files.isdir(path):
            raise FileNotFoundError(name)
        file: IO[bytes] = self._files.open(path, "rb")
        return file, int(self._files.size(path))

    def names(self, folder: str) -> list[str]:
        """Return the names of all files of a folder, and of those in it."""
        path = self._path(folder)
        try:
            found = self._files.find(path)
        except FileNotFoundError:
            return []
        return [f"{folder}/{each.removeprefix(path).lstrip('/')}" for each in found if each != path]

    def modified(self, name: str) -> float:
        """Return when a file was written last, in seconds since 1970.

        Raises:
            FileNotFoundError: the store has no such file.
        """
        when: datetime = self._files.modified(self._path(name))
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()

    def exists(self, name: str) -> bool:
        """Say whether the store has a file or folder of this name."""
        return bool(self._files.exists(self._path(name)))

    def delete(self, name: str) -> None:
        """Delete a file; one that is gone already is no error."""
        try:
            self._files.rm_file(self._path(name))
        except FileNotFoundError:
            return

    def move(self, name: str, to: str) -> None:
        """Give a file or folder another name.

        Raises:
            FileNotFoundError: the store has none of this name.
        """
        source, target = self._path(name), self._path(to)
        if self._local:
            Path(target).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            Path(source).rename(target)
        else:
            self._files.mv(source, target, recursive=True)

    def remove(self, name: str) -> None:
        """Delete a file, or a folder with all that is in it, and its own folder where that has nothing else."""
        with suppress(FileNotFoundError):
            self._files.rm(self._path(name), recursive=True)
        if self._local:
            with suppress(OSError):
                Path(self._path(name)).parent.rmdir()

    def forget(self, name: str) -> None:
        """Delete a file, and its folder where that has no other."""
        self.delete(name)
        if self._local:
            with suppress(OSError):
                Path(self._path(name)).parent.rmdir()

    def folder(self, name: str, into: Path) -> Path:
        """Return a local folder with the files of a folder of the store.

        A local store gives the folder itself, since data samples may be larger than what one wants to copy for
        each task; another store's is downloaded.

        Args:
            name: the folder's name, as in `data_samples/<key>`.
            into: where to download to; must not exist.

        Raises:
            FileNotFoundError: the store has no such folder.
        """
        path = self._path(name)
        if not self._files.isdir(path):
            raise FileNotFoundError(name)
        if self._local:
            return Path(path)
        self._files.get(f"{path}/", f"{into}/", recursive=True)
        return into

    def _digest(self, path: str) -> str:
        with self._files.open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def _upload(self, source: Path, path: str) -> None:
        if source.is_dir():
            self._files.put(f"{source}/", f"{path}/", recursive=True)
            shutil.rmtree(source)
        else:
            self._files.put_file(str(source), path)
            source.unlink()

    def _path(self, name: str) -> str:
        parts = name.split("/")
        if not all(parts) or any(part in (".", "..") or "\\" in part or "\0" in part for part in parts):
            raise ValueError(f"{name!r} is no name of an asset")
        return f"{self._root.rstrip('/')}/{name}"

    @contextmanager
    def _writer(self, name: str) -> Iterator[IO[bytes]]:
        path = self._path(name)
        if self._local:
            target = Path(path)
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with whole.replaced(target) as copy:
                yield copy
        else:
            # Without it what was written before an error would be kept as if it were all.
            with self._files.transaction, self._files.open(path, "wb") as copy:
                yield copy


def _settle(folder: Path) -> None:
    """Return when the disk knows what is in a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
