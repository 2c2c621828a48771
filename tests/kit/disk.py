"""A small disk of its own for the working folders and the asset store of one organization."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

BYTES = 8 * 1024 * 1024


@contextlib.contextmanager
def disk(place: Path, data: Path, organization: str) -> Iterator[bool]:
    """Give an organization a small disk for its working folders and its asset store; say whether that works.

    Args:
        place: where it is mounted; it must not be there.
        data: of a federation that was not started; it must be there.
        organization: which.
    """
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={BYTES},mode=0700", "tmpfs", str(place)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        yield False
        return
    try:
        for link, target in (
            (data / "stores" / organization, "store"),
            (data / "work" / f"{organization}@node-1", "work"),
        ):
            link.parent.mkdir(mode=0o700)
            (place / target).mkdir(mode=0o700)
            link.symlink_to(place / target)
        yield True
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
