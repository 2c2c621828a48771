"""The beat's clock: the process beside the maintenance worker's pool that fires the sweeps."""

import os
import threading
import time
from typing import Any

import structlog
from celery import Celery, bootsteps
from celery.beat import EmbeddedService
from celery.signals import beat_embedded_init

log = structlog.get_logger()

_PERIOD_SECONDS = 1.0


class Clock:
    """Celery's clock, but that it is started again when it was killed alone, and ends when its worker was killed.

    Args:
        app: whose schedule it fires.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._process: Any = None
        self._worker = os.getpid()
        beat_embedded_init.connect(self._follow)

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

    def _follow(self, **_: Any) -> None:
        # A thread, since the process itself may wait for its broker for ever.
        threading.Thread(target=self._end_with_worker, daemon=True).start()

    def _end_with_worker(self) -> None:
        while os.getppid() == self._worker:
            time.sleep(_PERIOD_SECONDS)
        # Only the main thread can leave in order, and it holds nothing that would be lost.
        os._exit(1)


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
