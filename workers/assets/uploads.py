"""Files on their way into the asset store: known by what they will be, kept while they are not whole, then moved in.

What has come of a content lies in a file that is named by its checksum alone. So who is cut off goes on from there,
also under another name and after either side was restarted; and nobody reads it before all of it was verified.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path
from typing import IO

import structlog

from orchestrator.client.folders import FolderError
from orchestrator.core import crash
from workers.assets import samples
from workers.assets.store import AssetStore
from workers.assets.unnamed import Unnamed
from workers.assets.wanted import RefusedError, Wanted

log = structlog.get_logger()

_PARTIAL, _FOLDER = ".partial", ".folder"


class Uploads:
    """What is on its way into one store.

    Args:
        store: the store.
        folder: for what is not whole yet; of a local store's own file system.
        limit: most bytes of one upload.
        reserve: bytes of the disk that stay free.
        age: seconds after which what nobody went on with is removed.
        unnamed: notes what is in the store and named by no asset yet; None where that is never removed.

    Raises:
        OSError: the folder cannot be made, or not be written.
    """

    def __init__(
        self,
        store: AssetStore,
        folder: Path,
        limit: int,
        reserve: int,
        age: float,
        unnamed: Unnamed | None = None,
    ) -> None:
        self._store = store
        self._folder = folder
        self._limit = limit
        self._reserve = reserve
        self._age = age
        self.unnamed = unnamed
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    def offset(self, wanted: Wanted, size: int | None = None) -> int | None:
        """Return how many bytes of an upload have come; None where all is in the store.

        Args:
            wanted: which.
            size: how large it will be, where that is known: what would be refused is refused now.

        Raises:
            RefusedError: there is another content of this name (409); it is too large (413); no room (507).
        """
        if self._is_there(wanted):
            return None
        try:
            come = self._partial(wanted).stat().st_size
        except FileNotFoundError:
            come = 0
        if size is not None:
            self._check_size(wanted, come, size)
        return come

    @contextmanager
    def begin(self, wanted: Wanted, offset: int, size: int) -> Iterator["Upload | None"]:
        """Go on with an upload; give None where all is in the store.

        Args:
            wanted: which.
            offset: of the first byte that is sent; what came after it is forgotten.
            size: of all.

        Raises:
            RefusedError: see `offset`; another connection sends the same (503); less of it has come (409).
        """
        if self._is_there(wanted):
            yield None
            return
        with self._locked(wanted) as file:
            come = os.fstat(file.fileno()).st_size
            if offset > come:
                raise RefusedError(409, f"go on from byte {come}, not {offset}", {"Upload-Offset": str(come)})
            self._check_size(wanted, offset, size)
            file.truncate(offset)
            file.seek(offset)
            yield Upload(self, wanted, file)

    def remove_old(self) -> int:
        """Remove what nobody went on with for long; return how many."""
        removed = 0
        latest = time.time() - self._age
        for path in self._folder.iterdir():
            try:
                if path.stat().st_mtime > latest:
                    continue
                if path.suffix == _FOLDER:
                    shutil.rmtree(path)
                elif path.suffix == _PARTIAL:
                    with path.open("rb") as file:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        _remove(file, path)
                else:
                    continue
                removed += 1
            except (BlockingIOError, FileNotFoundError):
                # It is being sent, or another process was quicker.
                continue
            log.info("upload.removed", file=path.name)
        return removed

    def check_room(self, more: int = 0) -> None:
        """Check that the disk has room.

        Args:
            more: bytes that will be written.

        Raises:
            RefusedError: it has not (507).
        """
        free = shutil.disk_usage(self._folder).free
        if free - more < self._reserve:
            raise RefusedError(
                507,
                f"the disk of the asset store is nearly full: {free} bytes are free, of which {self._reserve} stay so "
                f"(ORCHESTRATOR_STORE_DISK_RESERVE), and this takes {more} more; ask its administrator for room",
            )

    def finish(self, wanted: Wanted, file: BufferedRandom) -> None:
        """Verify what has come, and move it into the store.

        Args:
            wanted: what it should be.
            file: all of it, open and locked.

        Raises:
            RefusedError: it is something else (422), and what has come is removed; or see `begin`.
        """
        path = self._partial(wanted)
        try:
            if wanted.is_folder:
                self._finish_folder(wanted, file)
            else:
                found = hashlib.file_digest(file, "sha256").hexdigest()
                _check(wanted, found)
                os.fsync(file.fileno())
                self._move(wanted, path)
        except RefusedError as error:
            if error.status != 507:
                _remove(file, path)
            raise
        _remove(file, path)

    def _finish_folder(self, wanted: Wanted, file: BufferedRandom) -> None:
        folder = self._folder / f"{uuid.uuid4().hex}{_FOLDER}"
        folder.mkdir(mode=0o700)
        try:
            try:
                with _room():
                    found = samples.unpack(file, folder, self.check_room)
            except samples.SampleError as error:
                raise RefusedError(422, str(error)) from error
            _check(wanted, found)
            self._move(wanted, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _move(self, wanted: Wanted, path: Path) -> None:
        if self.unnamed is not None:
            self.unnamed.note(wanted.name)
        crash.point("store.upload_verified")
        try:
            self._store.take(wanted.name, path)
        except FileExistsError:
            # Two sent it at once under the same name; or it was something else.
            self._is_there(wanted)

    def _is_there(self, wanted: Wanted) -> bool:
        if self.unnamed is not None:
            # Before it is looked for, or it could be removed meanwhile.
            self.unnamed.wanted(wanted.name)
        try:
            found = self._store.checksum(wanted.name)
        except FolderError as error:
            raise RefusedError(
                409, f"{wanted.name} is there already, and is nothing that was uploaded: {error}"
            ) from error
        if found is not None and found != wanted.checksum:
            raise RefusedError(
                409, f"{wanted.name} is there already with the checksum {found}, and is never replaced: take a new key"
            )
        return found is not None

    def _check_size(self, wanted: Wanted, come: int, size: int) -> None:
        if size > self._limit:
            raise RefusedError(
                413,
                f"{wanted.name} has {size} bytes; the asset store takes {self._limit} at most "
                "(ORCHESTRATOR_STORE_UPLOAD_LIMIT)",
            )
        # A data sample lies there twice for a moment: as it was sent, and unpacked.
        self.check_room(max(0, size - come) + (size if wanted.is_folder else 0))

    def _partial(self, wanted: Wanted) -> Path:
        kind = "tar-" if wanted.is_folder else ""
        return self._folder / f"{kind}{wanted.checksum}{_PARTIAL}"

    @contextmanager
    def _locked(self, wanted: Wanted) -> Iterator[BufferedRandom]:
        path = self._partial(wanted)
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "r+b") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise RefusedError(
                        503, f"another connection sends the same as {wanted.name}; ask again", {"Retry-After": "1"}
                    ) from error
                if not _is_at(file, path):
                    # Whoever had it moved it into the store, or removed it.
                    continue
                if os.fstat(file.fileno()).st_nlink > 1:
                    # Whoever moved it into the store was killed: it is that file now, and nobody writes to it.
                    path.unlink()
                    continue
                try:
                    yield file
                finally:
                    if not os.fstat(file.fileno()).st_size:
                        _remove(file, path)
                return


class Upload:
    """One connection's part of an upload.

    Args:
        uploads: where it lies.
        wanted: what it is.
        file: at the byte to go on from.
    """

    def __init__(self, uploads: Uploads, wanted: Wanted, file: BufferedRandom) -> None:
        self._uploads = uploads
        self._wanted = wanted
        self._file = file

    def write(self, content: bytes) -> None:
        """Write what has come.

        Raises:
            RefusedError: the disk is nearly full (507); what came before is kept.
        """
        self._uploads.check_room(len(content))
        with _room():
            self._file.write(content)
            self._file.flush()

    def finish(self) -> None:
        """Verify it and move it into the store; all has come.

        Raises:
            RefusedError: it is something else (422).
        """
        self._file.seek(0)
        self._uploads.finish(self._wanted, self._file)


@contextmanager
def _room() -> Iterator[None]:
    """Refuse what the disk, or somebody's share of it, has no room for after all."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise RefusedError(507, "the disk of the asset store is full; ask its administrator for room") from error


def _check(wanted: Wanted, found: str) -> None:
    if found != wanted.checksum:
        raise RefusedError(
            422,
            f"what came for {wanted.name} has the checksum {found}, not {wanted.checksum}: send it again from byte 0",
        )


def _remove(file: IO[bytes], path: Path) -> None:
    """Remove a file that we have locked; what another has put in its place meanwhile stays."""
    if _is_at(file, path):
        path.unlink()


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
