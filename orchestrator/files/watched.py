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
_Stamp = tuple[tuple[str, int, int, int, int], ...]


class Watched(Generic[Value]):
    """What is read from files, as of the last look at them.

    Files that cannot be read, or are not what they should be, are logged once, and what was read before stays: half of
    a renewal, or a slip of an editor, stops nobody who works. Many threads may look.

    Args:
        name: what it is, for the log.
        files: which files it is read from, asked at each look; files may come and go.
        read: reads them all.

    Raises:
        OSError: a file cannot be read now, at the start.
        ValueError: a file is not what it should be.
    """

    def __init__(self, name: str, files: Callable[[], Iterable[Path]], read: Callable[[], Value]) -> None:
        self._name = name
        self.files = files
        self._read = read
        self._lock = threading.Lock()
        self._fault = ""
        self._stamp = self._look()
        self.value = read()

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
                fault = str(error) if isinstance(error, OSError | ValueError) else repr(error)
                if fault != self._fault:
                    self._fault = fault
                    _log().error(f"{self._name}.not_reloaded", error=fault)
                return self.value
            self._stamp, self._fault = stamp, ""
        _log().info(f"{self._name}.reloaded")
        return self.value

    def _look(self) -> _Stamp:
        # The time of change too: what is copied may keep the time of modification.
        stats = ((str(file), file.stat()) for file in self.files())
        return tuple((name, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_size) for name, stat in stats)


def _log() -> Any:
    return _processes if structlog.is_configured() else _library
