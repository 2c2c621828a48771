"""The counts of several server processes as one.

Each process counts in files of its number, which outlive it: the one that takes its place counts on, so that no count
goes back, none is there twice, and restarts make no files.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, ProcessCollector, values
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

_PREFIX = "orchestrator-counts-"
_STALE_SECONDS = 60.0
_FILE_BYTES = 1024 * 1024
_KINDS = ("counter", "histogram")
_PID = ".pid"

# Of no registry: it is read from the files.
_STARTS = Counter("orchestrator_process_starts", "Starts of a server process", ["process"], registry=None)


class Counts:
    """Has this process, and those that are forked from it, count in files.

    Make it before any metric counts.

    Args:
        folder: an empty one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number: int | None = None
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
        values.ValueClass = values.MultiProcessValue(lambda: self._number)  # type: ignore[no-untyped-call]

    def begin(self, number: int) -> None:
        """Count for one of the processes, from here on, in this one.

        Args:
            number: of the process; the last one of that number has ended.

        Raises:
            OSError: there is no room for its files.
        """
        self._number = number
        for kind in _KINDS:
            # A write to a mapped file for which the disk has no room left would kill the process.
            with (self._folder / f"{kind}_{number}.db").open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, _FILE_BYTES)
        note = self._folder / f"{number}{_PID}"
        note.unlink(missing_ok=True)
        note.symlink_to(str(os.getpid()))
        _STARTS.labels(str(number)).inc()

    def registry(self) -> CollectorRegistry:
        """Return what the processes have counted together, and what each of them uses of the machine."""
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(self._folder))  # type: ignore[no-untyped-call]
        registry.register(_Processes(self._folder))
        return registry


@contextmanager
def counted_together() -> Iterator[Counts]:
    """Have counts in a folder of their own as long as the block lasts.

    What was left by those that were killed is removed.

    Raises:
        OSError: there is no place for it.
    """
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Held by whoever is forked from here, too.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield Counts(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _sweep() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # Others' are theirs to remove, and what is new may not be held yet.
        with suppress(OSError):
            status = folder.lstat()
            if status.st_uid == os.getuid() and time.time() - status.st_mtime > _STALE_SECONDS:
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder)
                finally:
                    os.close(descriptor)


class _Processes(Collector):
    """Tells of each process what Prometheus' own collector tells of a single one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for number, pid in self._running():
            for metric in ProcessCollector(pid=partial(str, pid), registry=None).collect():
                family = families.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                for sample in metric.samples:
                    family.add_sample(sample.name, {"process": number}, sample.value)
        yield from families.values()

    def _running(self) -> Iterator[tuple[str, str]]:
        for note in sorted(self._folder.glob(f"*{_PID}")):
            # It may be replaced just now.
            with suppress(FileNotFoundError):
                yield note.stem, str(note.readlink())
