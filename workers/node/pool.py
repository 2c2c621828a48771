"""Replaces a process of the pool that was killed, at once."""

from typing import Any

from celery import Celery, bootsteps

_PERIOD_SECONDS = 0.25


def install(app: Celery) -> None:
    """Have a worker look for dead processes of its pool more often than Celery does.

    Celery hears when a process closes its files, looks whether it has ended, and then only every 5 seconds. A process
    with gRPC's threads has closed its files a moment before it has ended.

    Args:
        app: the worker's Celery app, before its worker is made.
    """

    class Step(bootsteps.StartStopStep):  # type: ignore[misc]
        """Looks every quarter of a second: one system call for each process."""

        requires = ("celery.worker.components:Hub", "celery.worker.components:Pool")

        def register_with_event_loop(self, worker: Any, hub: Any) -> None:
            hub.call_repeatedly(_PERIOD_SECONDS, worker.pool.maintain_pool)

    app.steps["worker"].add(Step)
