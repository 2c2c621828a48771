"""Working folders: fresh for each attempt or build, gone afterwards, and owned in between.

Beside a folder lies a file that its owner, a process of the pool, keeps locked. The kernel takes the lock away when the
owner is gone, however it went; so the agent, in another process, can tell what is abandoned without trusting process
ids or clocks. Whether a function that ran there is still alive its executor says.
"""

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from orchestrator.removal import remove
from workers.record import Record

_OWNER, _ORDER, _STOPPED = ".owner", ".order", ".stopped"


@dataclass(frozen=True)
class Place:
    """A working folder and the files beside it.

    Args:
        folder: its path.
    """

    folder: Path

    @property
    def owner(self) -> Path:
        """The locked file with the owner's record; it is there before the folder, and goes after it."""
        return self._beside(_OWNER)

    @property
    def order(self) -> Path:
        """The agent's order to end the attempt."""
        return self._beside(_ORDER)

    @property
    def stopped(self) -> Path:
        """What becomes of the owner's file when the attempt had to stop and has: the orchestrator is to hear of it."""
        return self._beside(_STOPPED)

    def record(self) -> Record | None:
        """Return what the owner says of itself.

        Returns:
            None when it has nothing more to say (see `WorkingFolder.settle`), has gone in order, or a power cut took
            its words.
        """
        return read(self.owner)

    def seize(self) -> int | None:
        """Take over what nobody owns any more.

        Returns:
            The lock, to be closed; None when the owner lives, or has gone in order.
        """
        try:
            lock = os.open(self.owner, os.O_RDWR)
        except FileNotFoundError:
            return None
        with suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self.owner.stat().st_ino == os.fstat(lock).st_ino:
                return lock
        os.close(lock)
        return None

    def lives(self) -> bool:
        """Tell whether its owner is still there."""
        lock = self.seize()
        if lock is None:
            return self.owner.exists()
        os.close(lock)
        return False

    def leave(self, *, stopped: bool = False) -> None:
        """Remove the files beside the folder; with `stopped`, leave word that the attempt was ended by order."""
        self.order.unlink(missing_ok=True)
        if stopped:
            self.owner.replace(self.stopped)
        else:
            self.owner.unlink(missing_ok=True)

    def _beside(self, suffix: str) -> Path:
        return self.folder.with_name(self.folder.name + suffix)


class WorkingFolder:
    """A fresh folder that only this user may enter, as long as the block runs.

    Args:
        parent: is made where it is missing.
        name: a prefix of the folder's name, for people.
        record: of the owner.
        spare: one that was made ahead and becomes this one, with what is in it.

    Attributes:
        path: the folder.
        place: with the files beside it.
        stopped: set it when the attempt ends because it had to stop.
        unsettled: set it while something is left that must be done, as to tell the orchestrator how the attempt ended:
            the agent is to do it, with what lies in the folder.
    """

    def __init__(self, parent: Path, name: str, record: Record, spare: Self | None = None) -> None:
        self.path = parent.absolute() / f"{name}-{uuid.uuid4().hex[:12]}"
        self.place = Place(self.path)
        self.stopped = False
        self.unsettled = False
        self._record = record
        self._spare = spare
        self._lock = -1

    @classmethod
    def seized(cls, place: Place, lock: int) -> Self:
        """Return one whose owner has gone: who enters it owns it, and what is in it stays.

        Args:
            place: where it is.
            lock: what `Place.seize` returned.
        """
        folder = cls(place.folder.parent, place.folder.name, Record.of_other())
        folder.path, folder.place, folder._lock = place.folder, place, lock
        return folder

    @property
    def lock(self) -> int:
        """The descriptor of the lock."""
        return self._lock

    def settle(self) -> None:
        """Say that the orchestrator knows how the attempt ended: what is left is to remove the folder."""
        os.ftruncate(self._lock, 0)

    def __enter__(self) -> Self:
        if self._lock != -1:
            return self
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = _draft(self.place.owner)
        self._lock = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(self._lock, "w", closefd=False) as file:
                file.write(self._record.dump())
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            draft.rename(self.place.owner)
            if self._spare is None:
                self.path.mkdir(mode=0o700)
            else:
                self._spare._become(self.path)
        except BaseException:
            draft.unlink(missing_ok=True)
            self.__exit__(None, None, None)
            raise
        return self

    def _become(self, path: Path) -> None:
        self.path.rename(path)
        self.place.leave()
        os.close(self._lock)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self.unsettled:
                remove(self.path)
                self.place.leave(stopped=self.stopped)
        finally:
            os.close(self._lock)


@contextmanager
def working_folder(parent: Path, name: str) -> Iterator[Path]:
    """Make a working folder for something else than an attempt; remove it and all in it at the end.

    Args:
        parent: is made where it is missing.
        name: a prefix of the folder's name, for people.
    """
    with WorkingFolder(parent, name, Record.of_other()) as folder:
        yield folder.path


def places(parent: Path) -> list[Place]:
    """Return the working folders that have an owner, or had one that is gone."""
    return [Place(owner.with_suffix("")) for owner in _files(parent, _OWNER)]


def read(file: Path) -> Record | None:
    """Return the record in a file; None when the file is absent or holds something else."""
    try:
        return Record.load(file.read_text())
    except (FileNotFoundError, ValueError):
        return None


def receipts(parent: Path) -> list[Path]:
    """Return the records of attempts that were stopped, of which the orchestrator has not heard."""
    return _files(parent, _STOPPED)


def tidy(parent: Path) -> None:
    """Remove orders whose attempt had ended when the agent wrote them."""
    for order in _files(parent, _ORDER):
        if not order.with_suffix(_OWNER).exists():
            order.unlink(missing_ok=True)


def clear(parent: Path) -> None:
    """Remove what no agent would look after: half-written files, and folders that never had an owner.

    For the start of a worker, before anything runs.
    """
    for path in parent.absolute().glob("*"):
        if path.is_dir() and not path.is_symlink():
            if not Place(path).owner.exists():
                remove(path)
        elif path.name.startswith("."):
            path.unlink(missing_ok=True)


def write(path: Path, text: str) -> None:
    """Write a small file that only this user may read; readers see all of it or nothing."""
    draft = _draft(path)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def _files(parent: Path, suffix: str) -> list[Path]:
    """Return the files beside working folders that end so; an agent looks ten times a second, and globs take longer."""
    try:
        names = os.listdir(parent)  # noqa: PTH208
    except FileNotFoundError:
        return []
    return [parent.absolute() / name for name in names if name.endswith(suffix) and not name.startswith(".")]


def _draft(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
