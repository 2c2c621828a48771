"""How a worker ends, and how it is told that attempts must stop.

TERM (or Ctrl-C): no new poke is taken, what runs may end within the drain time, what still runs then is given back; a
second TERM ends the drain time. QUIT: what runs is given back at once. The exit code is 0 in each case.
"""

import os
import signal
from contextlib import suppress
from typing import Any

import structlog
from celery import Celery, bootsteps
from celery.worker import state
from celery.worker.control import control_command

from orchestrator.core.pokes import STOP_ATTEMPTS
from workers.node.supervisor import Supervisor

log = structlog.get_logger()


def install(app: Celery, supervisor: Supervisor) -> None:
    """Have a worker end in order, and listen to the remote control command.

    Args:
        app: the worker's Celery app, before its worker is made.
        supervisor: of the same node.
    """
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)

    def end(number: int, _: object) -> None:
        state.should_stop = os.EX_OK
        if number == signal.SIGQUIT:
            supervisor.quit()
        else:
            supervisor.drain()
        with suppress(BlockingIOError):
            os.write(writer, b".")

    class Step(bootsteps.StartStopStep):  # type: ignore[misc]
        """Replaces Celery's own handlers, which would kill the pool's processes, or wait for them for ever."""

        requires = ("celery.worker.components:Hub", "celery.worker.components:Pool")

        def start(self, _: Any) -> None:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, end)

        def register_with_event_loop(self, _: Any, hub: Any) -> None:
            # Wakes the event loop, which looks whether it should stop only when something happens.
            hub.add_reader(reader, _read, reader)

    app.steps["worker"].add(Step)

    @control_command(name=STOP_ATTEMPTS, args=[("tasks", list)], signature="[task ...]")  # type: ignore[untyped-decorator]
    def stop_attempts(_: Any, tasks: object = None, **__: object) -> dict[str, str]:
        """Ask the orchestrator at once which attempts must stop."""
        log.info("attempts.stop_announced", tasks=len(tasks) if isinstance(tasks, list) else 0)
        supervisor.beat()
        return {"ok": "asking"}


def _read(reader: int) -> None:
    with suppress(BlockingIOError):
        os.read(reader, 64)
