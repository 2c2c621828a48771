"""Where the tests, and all that they start, keep their files: in memory, where that has room.

They make and remove some ten thousand files, a database of a thousand each time, and none outlives a run. A disk's file
system takes more than twice the processor time for that.
"""

import os
import shutil
import tempfile
from pathlib import Path

import psutil
import pytest

_MEMORY = Path("/dev/shm")
_PREFIX = "orchestrator-tests-"
_NEEDED_BYTES = 8 * 1024**3
"""What must be free: a run keeps a part of it there, and its processes need the rest."""


class Temporary:
    """The plugin of pytest: one folder for each of its processes, gone with it; who is killed leaves one to the next.

    Args:
        config: of this process; the `basetemp` that somebody asked for stays.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._before = os.environ.get("TMPDIR")
        place = None if self._before else in_memory()
        worker = getattr(config, "workerinput", None)
        # One of several lies in that of the process that leads them. Short: the names of sockets may be no longer.
        prefix = f"{worker['workerid']}-" if worker else f"{_PREFIX}{os.getpid()}-"
        if place:
            bury(place)
        self._folder = tempfile.TemporaryDirectory(prefix=prefix, dir=place, ignore_cleanup_errors=True)
        os.environ["TMPDIR"] = tempfile.tempdir = passable(Path(self._folder.name)).as_posix()
        if worker or not config.option.basetemp:
            config.option.basetemp = self._folder.name + "/pytest"

    def pytest_unconfigure(self) -> None:
        """Remove the folder."""
        tempfile.tempdir = self._before
        del os.environ["TMPDIR"]
        if self._before:
            os.environ["TMPDIR"] = self._before
        self._folder.cleanup()


def in_memory() -> Path | None:
    """Return a folder whose files lie in memory; None where there is none, or little of it is free."""
    try:
        place = os.statvfs(_MEMORY)
    except OSError:
        return None
    room = min(place.f_bavail * place.f_frsize, psutil.virtual_memory().available)
    return _MEMORY if room >= _NEEDED_BYTES and not place.f_flag & os.ST_NOEXEC else None


def bury(place: Path) -> None:
    """Remove the folders of processes that were killed: they take memory."""
    for folder in place.glob(f"{_PREFIX}*-*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def attempt_folder(place: Path) -> Path:
    """Make a folder for an attempt, named like no other of the machine, as a worker's is.

    By its name an executor finds what a function has left, and kills it, also where another test runs it.
    """
    return Path(tempfile.mkdtemp(prefix="attempt-", dir=place))


def passable(folder: Path) -> Path:
    """Let the servers' user through a folder to what is the servers' below it, which then lies there and not elsewhere.

    Returns:
        the same folder.
    """
    folder.chmod(0o711)
    return folder
