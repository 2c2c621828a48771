"""Starts the beat's clock, a process beside the maintenance worker's pool, again when it was killed alone."""

from typing import Any

import structlog
from celery import Celery, bootsteps
from celery.beat import EmbeddedService

log = structlog.get_logger()

_PERIOD_SECONDS = 1.0


def install(app: Celery) -> None:
    """Have the maintenance worker look after its clock, which Celery does not.

    Args:
        app: the worker's Celery app, before its worker is made.
    """

    class Step(bootsteps.StartStopStep):  # type: ignore[misc]
        """Looks every second; does nothing in a worker without a clock."""

        requires = ("celery.worker.components:Hub", "celery.worker.components:Beat")
        _timer: Any = None

        def register_with_event_loop(self, worker: Any, hub: Any) -> None:
            if worker.beat is not None:
                self._timer = hub.call_repeatedly(_PERIOD_SECONDS, self._look, worker)

        def stop(self, worker: Any) -> None:
            if worker.beat is not None:
                # The worker's loop goes on until its tasks have ended.
                if self._timer is not None:
                    self._timer.cancel()
                worker.beat.stop()

        def _look(self, worker: Any) -> None:
            if not worker.beat.is_alive():
                log.error("clock.died", exit_code=worker.beat.exitcode)
                worker.beat = EmbeddedService(
                    worker.app, schedule_filename=worker.schedule_filename, scheduler_cls=worker.scheduler
                )
                worker.beat.start()

    app.steps["worker"].add(Step)
