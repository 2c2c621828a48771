"""What a function sees in /etc: what programs need of the machine's, and who it is.

Files are copied into a folder that all sandboxes of a node share, and may only read: a mount for each would cost every
start, the more the more there are. What are folders on the machine is mounted on top of it.
"""

import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

_SYSTEM = "/etc"
# Nothing of it is secret.
_FILES = (
    "ld.so.cache", "ld.so.conf", "localtime", "timezone", "nsswitch.conf", "services", "protocols", "mime.types",
    "ssl/openssl.cnf",
)  # fmt: skip
_FOLDERS = (
    "ld.so.conf.d",
    "alternatives",
    "ssl/certs",
    "ca-certificates",
    "pki/tls",
    "pki/ca-trust",
    "fonts",
    "OpenCL",
)
_NETWORK = ("resolv.conf", "hosts")


def lay_out(parent: Path, own: Mapping[str, str], *, network: bool) -> list[str]:
    """Bring the folder up to date, and return the words with which bubblewrap shows it.

    Several processes may do so at once: each file is whole at any time.

    Args:
        parent: of the folder; it is made where it is missing, and nobody else may write to it.
        own: name -> content, of what the machine's is not shown of.
        network: whether its files about the network are shown too.

    Raises:
        OSError: it cannot be written.
    """
    place = parent / ("etc-network" if network else "etc")
    # By strings: for each start `pathlib` takes longer than the kernel.
    for name in (*_FILES, *(_NETWORK if network else ())):
        _copy(f"{_SYSTEM}/{name}", f"{place}/{name}")
    for name, text in own.items():
        if not (file := place / name).exists() or file.read_text() != text:
            _write(file, text.encode(), time.time_ns())
    words = ["--ro-bind", str(place), _SYSTEM]
    for name in _FOLDERS:
        if os.path.isdir(source := f"{_SYSTEM}/{name}"):  # noqa: PTH112
            if not os.path.isdir(shown := f"{place}/{name}"):  # noqa: PTH112
                Path(shown).mkdir(mode=0o755, parents=True, exist_ok=True)
            words += ["--ro-bind-try", source, source]
    return words


def _copy(source: str, target: str) -> None:
    """Have a copy of a file as it is now, and none where there is no such file."""
    if (status := _status(source)) is None:
        Path(target).unlink(missing_ok=True)
        return
    found = _status(target)
    if found is None or (found.st_mtime_ns, found.st_size) != (status.st_mtime_ns, status.st_size):
        _write(Path(target), Path(source).read_bytes(), status.st_mtime_ns)


def _status(file: str) -> os.stat_result | None:
    try:
        return os.stat(file)  # noqa: PTH116
    except FileNotFoundError:
        return None


def _write(target: Path, content: bytes, modified: int) -> None:
    """Write a file at once, as of a moment in nanoseconds."""
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        draft.write_bytes(content)
        draft.chmod(0o644)
        os.utime(draft, ns=(modified, modified))
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
