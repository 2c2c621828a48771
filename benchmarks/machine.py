"""Where a run was made: the machine, the versions, the settings."""

import os
import platform
from collections.abc import Mapping
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
            f"side {side.name}": f"{side.checkout.revision}, functions run by {side.checkout.executor}"
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
