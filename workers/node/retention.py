"""Removes logs from the organization's asset store when they are older than its setting says."""

import time

import structlog

from workers.assets import task_logs
from workers.assets.store import AssetStore
from workers.settings import WorkerSettings

log = structlog.get_logger()

PERIOD_SECONDS = 3600.0
"""How often a node looks; several may at once."""


class Retention:
    """How long logs are kept.

    Args:
        settings: the worker's.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._store_root = settings.store_root
        self._age = settings.task_log_age
        self._next = 0.0

    def due(self) -> bool:
        """Say whether it is time for `run`, once each time."""
        if not self._age or time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + PERIOD_SECONDS
        return True

    def run(self) -> None:
        """Remove what is too old.

        Raises:
            OSError: the store does not let it.
        """
        if removed := task_logs.remove_older(AssetStore(self._store_root), self._age):
            log.info("logs.removed", count=removed)
