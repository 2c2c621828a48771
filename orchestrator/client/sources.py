"""What is uploaded to an asset store: a content of known size and checksum that can be sent from any byte on."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.client import folders

_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Source:
    """A content.

    Args:
        checksum: SHA-256 in hex; of a data sample that of its folder, see `folders.checksum`.
        size: bytes.
        chunks: yields them, from an offset on.
    """

    checksum: str
    size: int
    chunks: Callable[[int], Iterator[bytes]]


def of_text(text: str) -> Source:
    """Return a text."""
    content = text.encode()
    return Source(hashlib.sha256(content).hexdigest(), len(content), lambda offset: iter([content[offset:]]))


def of_file(path: Path) -> Source:
    """Return a file; it stays as it is until it was sent.

    Raises:
        OSError: it cannot be read.
    """

    def chunks(offset: int) -> Iterator[bytes]:
        with path.open("rb") as file:
            file.seek(offset)
            while chunk := file.read(_CHUNK):
                yield chunk

    return Source(folders.digest(path), path.stat().st_size, chunks)


def of_folder(folder: Path) -> Source:
    """Return a data sample's folder.

    Raises:
        FolderError: there is nothing in it, or what no data sample may have; see `folders.files`.
        OSError: it cannot be read.
    """
    found = folders.files_of_sample(folder)
    tar = folders.Tar(found)
    return Source(folders.checksum((file.name, folders.digest(file.path)) for file in found), tar.size, tar.chunks)
