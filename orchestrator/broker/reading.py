"""Tells again and again that a worker reads its queue."""

from collections.abc import Callable
from typing import Any

from celery import Celery, bootsteps

_PERIOD_SECONDS = 1.0


def install(app: Celery, reads: Callable[[], object]) -> None:
    """Have a worker tell that it reads its queue, every second, as long as it does.

    It does not while it has lost its broker, nor while its event loop hangs.

    Args:
        app: the worker's Celery app, before its worker is made.
        reads: told.
    """

    class Step(bootsteps.StartStopStep):  # type: ignore[misc]
        """Runs in the event loop, which begins to turn when the broker has been reached."""

        requires = ("celery.worker.components:Hub",)

        def register_with_event_loop(self, _worker: Any, hub: Any) -> None:
            reads()
            hub.call_repeatedly(_PERIOD_SECONDS, reads)

    app.steps["worker"].add(Step)
