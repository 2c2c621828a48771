"""Folders that become assets: which files count, the checksum of a data sample, and what is sent of both.

The same files give the same bytes, whoever packs them, and when: dates and owners do not count, nor the folder's name.
"""

import hashlib
import os
import stat
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from orchestrator.client.errors import ToldError

LEFT_OUT = frozenset({"__pycache__", ".git", ".venv", ".ipynb_checkpoints"})
"""Folders that are no part of a function."""

_CHUNK = 1024 * 1024
_BLOCK = tarfile.BLOCKSIZE
_LONGEST_NAME, _LONGEST_PART = 1024, 255
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


class FolderError(ToldError, ValueError):
    """A folder cannot become an asset: one line that names the file and says what to do."""


@dataclass(frozen=True)
class File:
    """A file in a folder.

    Args:
        name: its path from the folder on, with slashes.
        path: where its content is.
        size: bytes.
        executable: whether its owner may run it.
    """

    name: str
    path: Path
    size: int
    executable: bool


def files(folder: Path, without: frozenset[str] = frozenset()) -> list[File]:
    """Return the files of a folder and of those in it, by name; empty folders do not count.

    A link to a file of the same folder stands for that file.

    Args:
        folder: which.
        without: names of files and folders that are left out, with all that is in them.

    Raises:
        FolderError: a link leads out of the folder or to a folder, a file is none, or has a name that not every
            system can write.
        OSError: it cannot be read.
    """
    if not folder.is_dir():
        raise FolderError(f"{folder} is no folder: name a folder with files")
    root = folder.resolve()
    found = []
    for parent, folders, names in os.walk(root, onerror=_fail):
        folders[:] = sorted(name for name in folders if name not in without)
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        for name in [*links, *(name for name in names if name not in without)]:
            found.append(_file(root, Path(parent) / name))
    return sorted(found, key=lambda file: file.name)


def files_of_sample(folder: Path) -> list[File]:
    """Return the files of a data sample's folder, by name.

    Raises:
        FolderError: see `files`; or there is none.
        OSError: it cannot be read.
    """
    found = files(folder)
    if not found:
        raise FolderError(f"{folder} has no files: a data sample is a folder with files")
    return found


def _fail(error: OSError) -> None:
    raise error


def _file(root: Path, path: Path) -> File:
    name = path.relative_to(root).as_posix()
    if (fault := fault_of_name(name)) is not None:
        raise FolderError(f"{path!s:.200} {fault}: rename it")
    if path.is_symlink():
        target = path.resolve()
        if not target.is_relative_to(root):
            raise FolderError(f"{path} is a link that leaves its folder, to {target}: put the file in its place")
        if not target.is_file():
            raise FolderError(f"{path} is a link to no file of its folder: put the file or the folder in its place")
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise FolderError(f"{path} is neither a file nor a folder: put a file in its place")
    return File(name, path, status.st_size, bool(status.st_mode & stat.S_IXUSR))


def fault_of_name(name: str) -> str | None:
    """Return why a file in a folder cannot be called so, in a few words; None where it can.

    Args:
        name: its path from the folder on.
    """
    parts = name.split("/")
    if not name.isprintable() or "\\" in name or ":" in parts[0]:
        return "has a name with letters that not every system can write"
    if any(part in ("", ".", "..") for part in parts):
        return "has a name that leads elsewhere"
    if len(name.encode()) > _LONGEST_NAME or any(len(part.encode()) > _LONGEST_PART for part in parts):
        return "has too long a name"
    return None


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksum(digests: Iterable[tuple[str, str]]) -> str:
    """Return the checksum of a folder, as data samples are registered with it.

    It is the SHA-256 of, for each file in the order of its name's bytes in UTF-8, the SHA-256 of the name and the
    SHA-256 of the content, 32 bytes each.

    Args:
        digests: name and SHA-256 in hex of each file.
    """
    total = hashlib.sha256()
    for name, content in sorted(digests):
        # Digests have one length, so that no two folders run together into the same bytes.
        total.update(hashlib.sha256(name.encode()).digest())
        total.update(bytes.fromhex(content))
    return total.hexdigest()


class Tar:
    """The files of a folder as a tar archive that is made while it is sent, from any byte on.

    Args:
        found: the files.
    """

    def __init__(self, found: Iterable[File]) -> None:
        self._files = [(file, _header(file)) for file in found]
        self.size = sum(len(header) + _padded(file.size) for file, header in self._files) + 2 * _BLOCK

    def chunks(self, offset: int = 0) -> Iterator[bytes]:
        """Yield the archive's bytes.

        Args:
            offset: of the first.

        Raises:
            FolderError: a file has another size by now.
            OSError: a file cannot be read.
        """
        for file, header in self._files:
            length = len(header) + _padded(file.size)
            if offset < length:
                yield from _part(file, header, offset)
            offset = max(0, offset - length)
        yield bytes(2 * _BLOCK)[offset:]


def _header(file: File) -> bytes:
    # A fresh TarInfo bears no date and no owner.
    info = tarfile.TarInfo(file.name)
    info.size = file.size
    info.mode = 0o755 if file.executable else 0o644
    return info.tobuf(tarfile.PAX_FORMAT)


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _part(file: File, header: bytes, offset: int) -> Iterator[bytes]:
    if offset < len(header):
        yield header[offset:]
    begin = max(0, offset - len(header))
    left = max(0, file.size - begin)
    with file.path.open("rb") as content:
        content.seek(begin)
        while left and (chunk := content.read(min(_CHUNK, left))):
            left -= len(chunk)
            yield chunk
        if left or (begin <= file.size and content.read(1)):
            raise FolderError(f"{file.path} changed while it was sent: try again when nobody writes to it")
    yield bytes(_padded(file.size) - max(file.size, begin))


def pack(folder: Path, archive: IO[bytes]) -> None:
    """Write a function's folder as the archive that is registered.

    It is a zip archive without compression: what a compressor writes differs from one release of it to another.

    Args:
        folder: its files come to lie at the top; `LEFT_OUT`, and what Python compiled, do not.
        archive: open for writing, at its beginning.

    Raises:
        FolderError: see `files`; or there is none.
        OSError: it cannot be read.
    """
    found = [file for file in files(folder, LEFT_OUT) if not file.name.endswith(".pyc")]
    if not found:
        raise FolderError(f"{folder} has no files: a function needs a Dockerfile and a program")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for file in found:
            entry = zipfile.ZipInfo(file.name, _LONG_AGO)
            entry.create_system = 3  # as on Unix, wherever it is packed
            entry.external_attr = (stat.S_IFREG | (0o755 if file.executable else 0o644)) << 16
            entry.file_size = file.size
            with file.path.open("rb") as content, packed.open(entry, "w") as copy:
                while chunk := content.read(_CHUNK):
                    copy.write(chunk)
