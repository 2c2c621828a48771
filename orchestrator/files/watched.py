"""Files that are read again when they change."""

import logging
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Generic, TypeVar

import structlog

_processes = structlog.get_logger()
# In a program of somebody else's, structlog would print to stdout.
_library = structlog.wrap_logger(
    logging.getLogger("orchestrator"), processors=[structlog.processors.KeyValueRenderer(key_order=["event"])]
)

Value = TypeVar("Value")
_Stamp = tuple[tuple[str | int, ...], ...]


class PartlyWrongError(ValueError):
    """Some of the files are wrong; what the others say holds at once.

    Args:
        value: what is to hold now.
        faults: what is wrong, for people.
    """

    def __init__(self, value: Any, faults: Iterable[str]) -> None:
        super().__init__("; ".join(faults))
        self.value = value


class Watched(Generic[Value]):
    """What is read from files, as of the last look at them.

    Files that cannot be read, or are not what they should be, are logged once, and what was read before stays: half of
    a renewal, or a slip of an editor, stops nobody who works. Many threads may look.

    Args:
        name: what it is, for the log.
        files: which files it is read from, asked at each look; files may come and go.
        read: reads them all; it says what it means that one is absent, and raises `PartlyWrongError` where others hold
            all the same.
        until: what holds until they could be read once; without it, they must be good now.

    Raises:
        OSError: a file cannot be read now, at the start.
        ValueError: a file is not what it should be.
    """

    def __init__(
        self,
        name: str,
        files: Callable[[], Iterable[Path]],
        read: Callable[[], Value],
        until: Value | None = None,
    ) -> None:
        self._name = name
        self.files = files
        self._read = read
        self._lock = threading.Lock()
        self._fault = ""
        self._stamp = None if until is not None else self._look()
        self.value = until if until is not None else read()

    def look(self) -> Value:
        """Return what the files say now."""
        with self._lock:
            try:
                stamp = self._look()
                if stamp == self._stamp:
                    # What was wrong meanwhile is mended.
                    self._fault = ""
                    return self.value
                self.value = self._read()
            except Exception as error:
                # Whatever is wrong with a file, it must not end those who look at it.
                if isinstance(error, PartlyWrongError):
                    self.value = error.value
                fault = str(error) if isinstance(error, OSError | ValueError) else repr(error)
                if fault != self._fault:
                    self._fault = fault
                    _log().error(f"{self._name}.not_reloaded", error=fault)
                return self.value
            first, self._stamp, self._fault = self._stamp is None, stamp, ""
        if not first:
            _log().info(f"{self._name}.reloaded")
        return self.value

    def _look(self) -> _Stamp:
        return tuple((str(file), *_state(file)) for file in self.files())


def _state(file: Path) -> tuple[int, ...]:
    try:
        stat = file.stat()
    except OSError as error:
        # Reading says what it means; the files beside it are looked at all the same.
        return (error.errno or 0,)
    # The time of change too: what is copied may keep the time of modification.
    return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_size


def _log() -> Any:
    return _processes if structlog.is_configured() else _library
