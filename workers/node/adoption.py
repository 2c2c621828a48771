"""What a node that is gone has left behind: another node of its organization takes it over, and cleans it up.

Where a node's name changes with each start, as in Kubernetes, nobody would ever look into the folders of the old names.
A node that lives touches its own folder all the time. How long ago others were touched is read off the file system
alone: the clocks of the machines that share it do not matter, nor whether they see each other's locks.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

import structlog

from orchestrator.removal import remove
from workers import folder
from workers.executors import registry
from workers.folder import Place
from workers.settings import WorkerSettings

log = structlog.get_logger()

PERIOD_SECONDS = 60.0
"""How often a node touches its folder, and looks for others."""

ABANDONED_SECONDS = 600.0
"""How long a folder must not have been touched. Any lease that its node held has run out by then."""


class Adoption:
    """Takes over the folders of other nodes of the same organization that nobody touches any more.

    Args:
        settings: the worker's.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._own = settings.node_folder
        self._etc = settings.etc_folder.parent
        self._organization = settings.organization
        self._executor = registry.make(settings)
        self._next = 0.0

    def due(self) -> bool:
        """Say whether it is time for `touch` and `run`, once each time."""
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + PERIOD_SECONDS
        return True

    def touch(self) -> None:
        """Show that this node lives."""
        try:
            self._own.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.utime(self._own)
        except OSError as error:
            log.error("node.not_touched", folder=str(self._own), error=str(error))

    def run(self) -> None:
        """Take over what is abandoned, by the time when this node showed last that it lives.

        Raises:
            OSError: the folder of nodes cannot be read.
        """
        untouched = self._own.stat().st_mtime - ABANDONED_SECONDS
        for other in self._own.parent.glob(f"{self._organization}@*"):
            if other == self._own:
                continue
            try:
                if other.is_dir() and not other.is_symlink() and other.stat().st_mtime < untouched:
                    self._adopt(other)
            except OSError as error:
                log.error("node.not_adopted", folder=str(other), error=str(error))

    def _adopt(self, other: Path) -> None:
        for place in folder.places(other):
            lock = place.seize()
            if lock is not None:
                try:
                    self._move(place)
                finally:
                    os.close(lock)
        for receipt in folder.receipts(other):
            receipt.replace(self._own / receipt.name)
        if folder.places(other):
            return
        folder.tidy(other)
        folder.clear(other)
        # Somebody may have put something into it just now.
        with suppress(OSError):
            other.rmdir()
            remove(self._etc / other.name.removeprefix(f"{self._organization}@"))
            log.info("node.adopted", folder=other.name)

    def _move(self, place: Place) -> None:
        # It may be found by its folder alone, which changes its place now.
        if self._executor.alive(place.folder) or not self._executor.end(place.folder, 0.0):
            log.error("folder.strays_left", folder=place.folder.name)
            return
        # The owner's file last: with it the agent finds the rest, and until then the next adoption does.
        for path in (place.folder, place.order, place.owner):
            with suppress(FileNotFoundError):
                path.rename(self._own / path.name)
        log.warning("folder.adopted", folder=place.folder.name, of=place.folder.parent.name)
