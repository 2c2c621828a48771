"""Where a run was made: the machine, the versions, and how busy the machine was otherwise."""

import os
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

from benchmarks.stage import Stage

_PACKAGES = ("grpcio", "protobuf", "psycopg", "sqlalchemy", "celery", "redis")
_SETTINGS = ("fsync", "synchronous_commit", "shared_buffers", "full_page_writes", "max_connections", "wal_level")


def describe(stage: Stage, command: str) -> Mapping[str, str]:
    """Return what a reader must know to repeat a run."""
    with stage.connect(stage.sides[0]) as connection:
        settings = {name: connection.execute(f"SHOW {name}").fetchone() for name in _SETTINGS}
        (database,) = connection.execute("SHOW server_version").fetchone() or ("",)
    return {
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "command": command,
        "sizes": stage.sizes.name,
        **{
            f"side {side.name}": f"{side.checkout.revision} {' '.join(side.checkout.serve)}".strip()
            for side in stage.sides
        },
        "machine": f"{os.cpu_count()} × {_processor()}, {psutil.virtual_memory().total / 2**30:.0f} GiB",
        "load before": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "system": platform.platform(),
        "Python": platform.python_version(),
        "Postgres": str(database),
        "Postgres settings": ", ".join(f"{name} {value[0] if value else ''}" for name, value in settings.items()),
        "packages": ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


class Others:
    """How much of the machine others took since this was made: what makes a number untrustworthy."""

    def __init__(self) -> None:
        self._begun, self._busy, self._ours = time.monotonic(), _busy(), _ours()

    @property
    def share(self) -> float:
        """In percent of all processors."""
        all_of_it = (time.monotonic() - self._begun) * (os.cpu_count() or 1)
        taken = _busy() - self._busy - (_ours() - self._ours)
        return 100 * max(0.0, taken) / all_of_it


def _busy() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)


def _ours() -> float:
    """Return the seconds of processor that this process, and all that it started, have had."""
    us = psutil.Process()
    seconds = 0.0
    for process in (us, *us.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            seconds += sum(process.cpu_times()[:4])  # of its own, and of children that have ended
    return seconds
