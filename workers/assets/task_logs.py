"""What functions say, in the store of the organization that runs them: while they run, and for a time after.

`task_logs/<task>/<attempt>` is what an attempt has said so far; nothing is there of one that says nothing. Where an
attempt fails, its log lies under `logs/` instead, with the reason, and its failure report says where.
"""

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from workers.assets.regular import open_regular
from workers.assets.store import AssetStore

log = structlog.get_logger()

FOLDERS = ("task_logs", "logs")
"""Where logs lie in a store."""

_PERIOD_SECONDS = 0.5
# A store that is no folder takes files as a whole alone: it gets this many seconds, and many times what it takes.
_WHOLE_SECONDS, _WHOLE_SHARE = 10.0, 20
_CHUNK = 1024 * 1024


def name(task: str, attempt: int) -> str:
    """Return the name, in a store, of what an attempt says."""
    return f"{FOLDERS[0]}/{task}/{attempt}"


def latest(store: AssetStore, named: str) -> str:
    """Return the name of the log of a task's last attempt that said something.

    Args:
        store: the store.
        named: as in `task_logs/<task>`; one with an attempt is returned as it is.

    Raises:
        FileNotFoundError: there is none.
    """
    if named.count("/") > 1:
        return named
    attempts = [int(each.rpartition("/")[2]) for each in store.names(named) if each.rpartition("/")[2].isdecimal()]
    if not attempts:
        raise FileNotFoundError(named)
    return f"{named}/{max(attempts)}"


def remove_older(store: AssetStore, seconds: float) -> int:
    """Remove the logs that were written longer ago; return how many.

    Args:
        store: the organization's own.
        seconds: how long logs are kept.
    """
    until, removed = time.time() - seconds, 0
    for folder in FOLDERS:
        for each in store.names(folder):
            with suppress(FileNotFoundError):
                if store.modified(each) < until:
                    store.forget(each)
                    removed += 1
    return removed


class Copying:
    """Copies what a function says into the store, as long as the block runs.

    Args:
        store: the organization's own.
        named: the log's name in it.
        file: to which the executor writes, and only ever appends.
        about: the task, for the worker's log.
        again: whether there were attempts before: then one that says nothing has an empty log, or theirs would be
            taken for its own.
    """

    def __init__(
        self, store: AssetStore, named: str, file: Path, about: Mapping[str, object], *, again: bool = False
    ) -> None:
        self._store = store
        self._name = named
        self._file = file
        self._log = log.bind(**about)
        self._done = -1 if again else 0
        self._next = 0.0
        self._failed = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._try(last=True)

    def _run(self) -> None:
        while not self._ended.wait(_PERIOD_SECONDS):
            self._try(last=False)

    def _try(self, *, last: bool) -> None:
        try:
            if self._store.local is not None:
                self._append()
            elif last or time.monotonic() >= self._next:
                self._put()
        except OSError as error:
            # A task is not worth less because its log cannot be kept.
            if not self._failed:
                self._log.warning("task.log_not_copied", error=str(error))
            self._failed = True

    def _append(self) -> None:
        if self._file.stat().st_size <= self._done:
            return
        if self._done < 0:
            self._store.append(self._name, b"", 0)
            self._done = 0
        with open_regular(self._file) as said:
            said.seek(self._done)
            while chunk := said.read(_CHUNK):
                self._store.append(self._name, chunk, self._done)
                self._done += len(chunk)

    def _put(self) -> None:
        size = self._file.stat().st_size
        if size > self._done:
            began = time.monotonic()
            self._store.put(self._name, self._file)
            self._done = size
            self._next = time.monotonic() + max(_WHOLE_SECONDS, _WHOLE_SHARE * (time.monotonic() - began))
