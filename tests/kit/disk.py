"""Small disks of their own for tests: a full one is ordinary, and must be tried."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

BYTES = 8 * 1024 * 1024


@contextlib.contextmanager
def mounted(place: Path, size: int) -> Iterator[bool]:
    """Mount a small disk; say whether that works.

    Args:
        place: where; it must not be there.
        size: bytes that it has.
    """
    place.mkdir()
    tried = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(place)], capture_output=True, check=False
    )
    try:
        yield not tried.returncode
    finally:
        if not tried.returncode:
            subprocess.run(["umount", "-l", str(place)], check=True)


@contextlib.contextmanager
def disk(place: Path, data: Path, organization: str) -> Iterator[bool]:
    """Give an organization a small disk for its working folders and its asset store; say whether that works.

    Args:
        place: where it is mounted; it must not be there.
        data: of a federation that was not started; it must be there.
        organization: which.
    """
    with mounted(place, BYTES) as is_there:
        for link, target in (
            (data / "stores" / organization, "store"),
            (data / "work" / f"{organization}@node-1", "work"),
        ):
            if is_there:
                link.parent.mkdir(mode=0o700)
                (place / target).mkdir(mode=0o700)
                link.symlink_to(place / target)
        yield is_there
