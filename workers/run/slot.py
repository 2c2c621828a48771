"""Where one attempt after another runs: how functions run here, and what is prepared for the next of them.

Prepared is what every function needs: a folder, and where the executor can (see `Preparing`) a sandbox in which Python
has started. Nothing of any function is in it, so it needs no consent, and each attempt gets one that no other had.
"""

import structlog

from workers.assets.downloads import Downloads
from workers.executors import registry
from workers.executors.executor import Executor, Limits, Preparing
from workers.folder import WorkingFolder
from workers.record import Record
from workers.settings import WorkerSettings

log = structlog.get_logger()

# Nobody renews the lease of an attempt before it has its folder.
_READY_SECONDS = 2.0

OUTPUTS = "outputs"
"""The folder, in that of an attempt, for what its function writes."""
FOLDERS = ("function", "inputs", OUTPUTS, "home")
"""What is in the folder of an attempt, see `executor.Job`."""


class Slot:
    """A place for one attempt at a time; one for each process.

    Args:
        settings: the worker's.

    Attributes:
        downloads: connections to peers.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self.downloads = Downloads(settings)
        self._executor: Executor | None = None
        self._spare: WorkingFolder | None = None

    @property
    def executor(self) -> Executor:
        """How functions run here; made when first needed."""
        if self._executor is None:
            self._executor = registry.make(self._settings)
        return self._executor

    def limits(self, seconds: float) -> Limits:
        """Return what a function may use here.

        Args:
            seconds: that it may run.
        """
        settings = self._settings
        return Limits(
            time=seconds,
            grace=settings.task_kill_grace,
            memory=settings.task_memory_limit,
            file_size=settings.output_size_limit,
            folder_size=settings.task_folder_limit,
            folder_files=settings.task_file_limit,
            processes=settings.task_process_limit,
            log_size=settings.task_log_limit,
            cpus=settings.task_cpu_limit,
        )

    def prepare(self) -> None:
        """Prepare the next attempt, if it is not yet; what cannot be prepared is not needed either."""
        executor = self.executor
        if self._spare is not None or not isinstance(executor, Preparing):
            return
        # The agent ends it, and removes its folder, if we die.
        spare = WorkingFolder(self._settings.node_folder, "spare", Record.of_other())
        prepared = False
        try:
            spare.__enter__()
            try:
                for name in FOLDERS:
                    (spare.path / name).mkdir()
                prepared = executor.prepare(spare.path, self.limits(0.0))
            finally:
                if not prepared:
                    spare.__exit__(None, None, None)
        except OSError as error:
            log.warning("slot.not_prepared", error=str(error))
        if prepared:
            self._spare = spare

    def take(self) -> WorkingFolder | None:
        """Hand over what is prepared: its folder, to be taken over (see `WorkingFolder`); None when nothing is."""
        executor, spare = self.executor, self._spare
        if spare is None or not isinstance(executor, Preparing):
            return None
        if not executor.prepared(spare.path, _READY_SECONDS):
            log.warning("slot.lost")
            self._end()
            return None
        self._spare = None
        return spare

    def close(self) -> None:
        """End what is prepared, close the connections."""
        self.downloads.close()
        self._end()

    def _end(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            self.executor.end(spare.path, 0.0)
            spare.__exit__(None, None, None)
