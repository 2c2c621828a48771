"""How many attempts a node runs at once: those of its pool, and those that others of its processes have gone on with.

After a restart a pool is idle while what the worker before has left runs on (see `succession`): without this a machine
would run twice as much as it may.
"""

import time

import structlog
from billiard.process import current_process

from workers import folder, processes
from workers.record import Record
from workers.settings import WorkerSettings

log = structlog.get_logger()

_LOOK_SECONDS = 0.5
_LEAVING = ".leaving"


class Seats:
    """The seats of one node, as a process of its pool sees them.

    Args:
        settings: the worker's.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._folder = settings.node_folder
        self._number = settings.concurrency

    def wait(self) -> bool:
        """Wait until this process may run one attempt more, for as long as it takes; say whether it may.

        The poke is not acknowledged meanwhile, and what it announced may be run by another node.

        Returns:
            False when the worker ends first.
        """
        while not self._leaves:
            if self._is_free():
                # It may be free because the worker ends, and all its runs have.
                return not self._leaves
            time.sleep(_LOOK_SECONDS)
        return False

    def leave(self) -> None:
        """Say to all processes of the node that the worker ends."""
        try:
            (self._folder / _LEAVING).touch()
        except OSError as error:
            log.error("worker.leaving_not_told", error=str(error))

    def clear(self) -> None:
        """Take that back: a worker begins, or has ended."""
        (self._folder / _LEAVING).unlink(missing_ok=True)

    @property
    def _leaves(self) -> bool:
        return (self._folder / _LEAVING).exists()

    def _is_free(self) -> bool:
        records = [record for place in folder.places(self._folder) if (record := place.record()) and record.runs]
        inherited = sum(not _lives(record) for record in records)
        # By its own number in the pool: all of its processes may look at the same moment.
        own = int(getattr(current_process(), "index", 0))
        return len(records) < self._number and own < self._number - inherited


def _lives(record: Record) -> bool:
    return bool(record.born) and processes.born(record.pid) == record.born
