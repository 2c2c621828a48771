"""Packs a function's folder into the archive that is registered."""

import gzip
import io
import tarfile
from pathlib import Path


def pack(folder: Path) -> bytes:
    """Return a folder's files as a tar.gz; the same files give the same bytes, whoever packs them, and when.

    Args:
        folder: its files come to lie at the top of the archive; what Python compiled is left out.

    Raises:
        ValueError: the folder has a link or a special file, which no worker would unpack.
    """
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(filename="", fileobj=buffer, mode="wb", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in sorted(folder.rglob("*")):
            if "__pycache__" in path.relative_to(folder).parts or (path.is_dir() and not path.is_symlink()):
                continue
            if path.is_symlink() or not path.is_file():
                raise ValueError(f"{path} is neither a file nor a folder: put a file in its place")
            content = path.read_bytes()
            # A fresh TarInfo bears no date and no owner.
            member = tarfile.TarInfo(path.relative_to(folder).as_posix())
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
