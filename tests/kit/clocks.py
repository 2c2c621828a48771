"""Machines whose clocks are wrong: programs that libfaketime tells another time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kit.debian import AbsentError, obtained


@contextmanager
def faked() -> Iterator[Path]:
    """Give libfaketime; a test is skipped where there is none."""

    def installed() -> Path | None:
        return next(Path("/usr/lib").glob("**/faketime/libfaketimeMT.so.1"), None)

    try:
        found = obtained("libfaketime", installed)
    except AbsentError as error:
        pytest.skip(f"needs libfaketime: {error}")
    before = _shared()
    yield found
    # It shares them with the children of a process, and a process that is killed cannot remove its own.
    for file in _shared() - before:
        if not Path("/proc", file.name.rpartition("_")[2]).exists():
            file.unlink(missing_ok=True)


def _shared() -> set[Path]:
    return {*Path("/dev/shm").glob("*faketime_s*_*")}


def off_by(library: Path, offset: str) -> dict[str, str]:
    """Return the environment of a program whose clock is off."""
    return {"LD_PRELOAD": str(library), "FAKETIME": offset}


class Jumping:
    """A clock that jumps while programs run; what counts the seconds since a machine has started goes on.

    Args:
        library: libfaketime.
        folder: for the file that says the time.
    """

    def __init__(self, library: Path, folder: Path) -> None:
        self._file = folder / "clock"
        self.jump("+0s")
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self, offset: str) -> None:
        """Be off by so much from now on."""
        self._file.write_text(f"{offset}\n")
