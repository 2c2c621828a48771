"""The beat's clock: the process beside the maintenance worker's pool that fires the sweeps."""

from typing import Any

import structlog
from celery import Celery, bootsteps
from celery.beat import EmbeddedService

log = structlog.get_logger()

_PERIOD_SECONDS = 1.0


class Clock:
    """Celery's clock, started again when it was killed alone; Celery's own is gone for good then.

    Args:
        app: whose schedule it fires.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._process: Any = None

    def start(self) -> None:
        """Start the process."""
        self._process = EmbeddedService(self._app, scheduler_cls="beat.scheduler:Scheduler")
        self._process.start()

    def look(self) -> None:
        """Start the process again if it has ended by itself."""
        if self._process is not None and not self._process.is_alive():
            log.error("clock.died", exit_code=self._process.exitcode)
            self.start()

    def stop(self) -> None:
        """End the process; the worker's loop, which looks after it, goes on until its tasks have ended."""
        process, self._process = self._process, None
        if process is not None:
            process.stop()


def install(app: Celery) -> None:
    """Give a worker the clock.

    Args:
        app: the worker's Celery app, before its worker is made.
    """

    class Step(bootsteps.StartStopStep):  # type: ignore[misc]
        """Starts the clock after the pool, so that it is stopped before it."""

        requires = ("celery.worker.components:Hub", "celery.worker.components:Pool")

        def create(self, worker: Any) -> Clock:
            return Clock(worker.app)

        def register_with_event_loop(self, _worker: Any, hub: Any) -> None:
            hub.call_repeatedly(_PERIOD_SECONDS, self.obj.look)

    app.steps["worker"].add(Step)
