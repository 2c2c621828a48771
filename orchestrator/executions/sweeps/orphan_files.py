"""Files of executions that are kept for nothing: their request, or their removal, was cut off."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from orchestrator.executions.files import stored
from orchestrator.executions.files.storage import Files
from orchestrator.store.database import Database
from orchestrator.store.sweep import Sweep

AGE = timedelta(hours=1)
"""How long a request may take whose files are not noted yet."""


def remove(database: Database[Any], now: datetime, limit: int, *, files: Files) -> int:
    """Remove files that were kept an hour ago or earlier, and belong to nothing, and uploads that broke off; return how
    many.

    Args:
        database: where it is noted which files are kept.
        now: the time.
        limit: most files.
        files: where they are.
    """
    gone = files.remove_incoming(now - AGE)
    old = files.old(now - AGE)
    for begin in range(0, len(old), limit):
        with database.begin() as connection:
            orphans = stored.unknown(connection, old[begin : begin + limit])
        files.remove(orphans)
        gone += len(orphans)
        if gone >= limit:
            break
    return gone


class Settings(Protocol):
    """What it must be told; see `beat.settings`."""

    media_root: str | None
    orphan_file_period: float
    sweep_batch: int


def make(settings: Settings) -> Sweep | None:
    """Return the sweep, None where nothing says where files are kept."""
    if settings.media_root is None:
        return None
    run = partial(remove, files=Files(settings.media_root))
    return Sweep("sweep.orphan_files", settings.orphan_file_period, settings.sweep_batch, run)
