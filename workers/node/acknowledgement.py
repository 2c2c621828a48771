"""Acknowledges a poke as soon as its claim has been answered: neither when a process takes it, nor when its task ends.

Celery knows only those two moments. The claim is made in a process of the pool, the message belongs to the worker's own
process; so the one tells the other through a pipe that it inherited.
"""

import os
from typing import Any

from celery import Celery, bootsteps
from celery.worker import state

_ID_BYTES = 36


class Acknowledgement:
    """The pipe of one worker; make it before the pool forks.

    Args:
        app: the worker's Celery app. Its tasks that use this must have `acks_late`, so that Celery itself keeps
            its hands off until they end.
    """

    def __init__(self, app: Celery) -> None:
        reader, self._writer = os.pipe()
        os.set_blocking(reader, False)

        class Step(bootsteps.StartStopStep):  # type: ignore[misc]
            """Listens to the pipe in the worker's event loop, where messages may be acknowledged."""

            requires = ("celery.worker.components:Hub", "celery.worker.components:Pool")

            def register_with_event_loop(self, _: Any, hub: Any) -> None:
                hub.add_reader(reader, _acknowledge_all, reader)

        app.steps["worker"].add(Step)

    def answered(self, request_id: str) -> None:
        """Tell the worker that the claim of a poke has been answered; called in a process of the pool.

        Args:
            request_id: the id of the Celery task, 36 characters.
        """
        # So few bytes are written as a whole, however many processes write.
        os.write(self._writer, request_id.encode("ascii").ljust(_ID_BYTES)[:_ID_BYTES])


def _acknowledge_all(reader: int) -> None:
    while True:
        try:
            told = os.read(reader, _ID_BYTES)
        except BlockingIOError:
            return
        request = state.requests.get(told.decode("ascii").rstrip())
        if request is not None:
            request.acknowledge()
