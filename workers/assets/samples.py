"""Unpacks the data sample that somebody sends, so that nothing of it leaves its folder or fills memory."""

import hashlib
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from orchestrator.client import folders

_CHUNK = 1024 * 1024
_MOST_FILES = 1_000_000
# tarfile reads some headers whole, however long they claim to be.
_LONGEST_READ = 2 * _CHUNK


class SampleError(ValueError):
    """What was sent is no data sample; one line for people."""


def unpack(archive: IO[bytes], folder: Path, check: Callable[[], None]) -> str:
    """Write the files of a tar archive, and return the checksum of their folder.

    Args:
        archive: open at its beginning; not compressed.
        folder: new, and nobody else's.
        check: called now and then; raises where the disk is nearly full.

    Raises:
        SampleError: it is no archive, or has something else than files and folders; names the entry.
    """
    digests: dict[str, str] = {}
    try:
        with tarfile.open(fileobj=_Bounded(archive), mode="r:") as tar:
            for member in tar:
                if member.isdir():
                    continue
                name = _name(member)
                if len(digests) == _MOST_FILES:
                    raise SampleError(f"the data sample has more than {_MOST_FILES} files: put some into one")
                content = tar.extractfile(member)
                if content is None or name in digests:
                    raise SampleError(f"the file {name!r} of the data sample is there twice")
                check()
                digests[name] = _write(content, folder / name, check)
    except SampleError:
        raise
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise SampleError(f"the data sample has a file and a folder of one name: {error.filename}") from error
    except (tarfile.TarError, EOFError, ValueError, RecursionError) as error:
        raise SampleError(f"the data sample is no tar archive, or a damaged one: {error}") from error
    if not digests:
        raise SampleError("the data sample has no files")
    return folders.checksum(digests.items())


def _name(member: tarfile.TarInfo) -> str:
    # As `tar -C folder -c .` writes them.
    name = member.name.removeprefix("./")
    if not member.isreg() or member.issparse():
        raise SampleError(f"entry {name!r} of the data sample is neither a file nor a folder: links are refused")
    if (fault := folders.fault_of_name(name)) is not None:
        raise SampleError(f"entry {name[:200]!r} of the data sample {fault}")
    return name


def _write(content: IO[bytes], target: Path, check: Callable[[], None]) -> str:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest = hashlib.sha256()
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as copy:
        while chunk := content.read(_CHUNK):
            check()
            digest.update(chunk)
            copy.write(chunk)
        copy.flush()
        os.fsync(copy.fileno())
    return digest.hexdigest()


class _Bounded(io.BufferedIOBase):
    """A file of which nobody reads much at once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _LONGEST_READ:
            raise SampleError(f"the data sample has a header of more than {_LONGEST_READ} bytes")
        return self._file.read(size)

    def seek(self, position: int, whence: int = os.SEEK_SET, /) -> int:
        return self._file.seek(position, whence)

    def tell(self) -> int:
        return self._file.tell()
