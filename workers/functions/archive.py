"""Unpacks a function's archive so that nothing of it can leave its folder or fill the disk.

Only files and folders are taken: links, devices and pipes are refused altogether, and so is every name that is
absolute, climbs with `..`, or appears twice. The libraries only read; the writing is done here, by one rule for
both kinds, so tarfile's extraction filters, which early releases of Python 3.11 lack, are not needed.
"""

import gzip
import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from workers.errors import BuildFault

MAX_ENTRIES = 10_000
_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class _Entry:
    name: str
    is_folder: bool
    size: int
    executable: bool
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, folder: Path, size_limit: int) -> None:
    """Unpack a tar.gz or zip archive, told apart by their content.

    Args:
        archive: the file.
        folder: an empty folder to unpack into.
        size_limit: bytes that all its files may have together.

    Raises:
        BuildFault: the archive is no archive, is damaged, too large, or tries to escape; names the entry.
    """
    with archive.open("rb") as file:
        magic = file.read(4)
    if magic.startswith(b"\x1f\x8b"):
        entries = _read_tar(archive, size_limit)
    elif magic.startswith(b"PK"):
        entries = _read_zip(archive)
    else:
        raise BuildFault("the function's archive is neither a tar.gz nor a zip file")
    try:
        _write(entries, folder, size_limit)
    except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise BuildFault(f"the function's archive is damaged: {error}") from error
    except (RuntimeError, NotImplementedError, ValueError, struct.error) as error:
        # zipfile's words for encryption, rare compressions and headers that make no sense
        raise BuildFault(f"the function's archive cannot be read: {error}") from error


def _write(entries: Iterator[_Entry], folder: Path, size_limit: int) -> None:
    total = 0
    for number, entry in enumerate(entries, start=1):
        if number > MAX_ENTRIES:
            raise BuildFault(f"the function's archive has more than {MAX_ENTRIES} entries")
        total += entry.size
        if total > size_limit:
            raise BuildFault(
                f"the function's archive unpacks to more than {size_limit} bytes (at entry {entry.name!r})"
            )
        target = folder / _safe(entry.name)
        try:
            if entry.is_folder:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with entry.open() as source, target.open("xb") as copy:
                while chunk := source.read(_CHUNK):
                    copy.write(chunk)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise BuildFault(f"entry {entry.name!r} of the function's archive appears twice") from error
        target.chmod(0o755 if entry.executable else 0o644)


def _safe(name: str) -> PurePosixPath:
    """Return the entry's path below the folder; refuse every other."""
    path = PurePosixPath(name)
    windows = "\\" in name or ":" in name.split("/", 1)[0]
    if path.is_absolute() or windows or ".." in path.parts:
        raise BuildFault(f"entry {name!r} of the function's archive would leave its folder")
    long = len(name.encode(errors="surrogateescape")) > 1024
    if long or any(len(part.encode(errors="surrogateescape")) > 255 for part in path.parts):
        raise BuildFault(f"entry {name[:60]!r}… of the function's archive has too long a name")
    if not name.isprintable():
        raise BuildFault(f"entry {name!r} of the function's archive has unprintable characters in its name")
    return path


def _read_tar(archive: Path, size_limit: int) -> Iterator[_Entry]:
    # tarfile reads some headers into memory whole, however long they claim to be: bound what it can read at all.
    allowance = size_limit + 3 * tarfile.BLOCKSIZE * MAX_ENTRIES
    with (
        gzip.open(archive, "rb") as unzipped,
        tarfile.open(fileobj=_Bounded(unzipped, allowance), mode="r|") as tar,
    ):
        for member in tar:
            if not (member.isreg() or member.isdir()) or member.issparse():
                raise BuildFault(
                    f"entry {member.name!r} of the function's archive is neither a file nor a folder: "
                    "links and devices are refused"
                )

            def read(member: tarfile.TarInfo = member) -> IO[bytes]:
                return tar.extractfile(member) or io.BytesIO()

            yield _Entry(member.name, member.isdir(), member.size, bool(member.mode & stat.S_IXUSR), read)


def _read_zip(archive: Path) -> Iterator[_Entry]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            mode = info.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise BuildFault(
                    f"entry {info.filename!r} of the function's archive is neither a file nor a folder: "
                    "links and devices are refused"
                )

            def read(info: zipfile.ZipInfo = info) -> IO[bytes]:
                return opened.open(info)

            yield _Entry(info.filename, info.is_dir(), info.file_size, bool(mode & stat.S_IXUSR), read)


class _Bounded(io.BufferedIOBase):
    """Reads at most so many bytes of a stream."""

    def __init__(self, stream: gzip.GzipFile, limit: int) -> None:
        self._stream = stream
        self._left = limit
        self._limit = limit

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = self._stream.read(self._left + 1 if size is None or size < 0 else min(size, self._left + 1))
        self._left -= len(chunk)
        if self._left < 0:
            raise BuildFault(f"the function's archive unpacks to more than {self._limit} bytes")
        return chunk
