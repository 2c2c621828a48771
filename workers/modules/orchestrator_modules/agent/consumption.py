"""The Celery worker of a kind's queue: it takes pokes as long as its module takes stages."""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from celery import Celery, Task, bootsteps
from celery.worker import state
from celery.worker.control import control_command

from orchestrator.broker import connection, own_words
from orchestrator.broker.tracing import processing
from orchestrator.core.pokes import RUN_TASK, STOP_ATTEMPTS, on_redis
from orchestrator.telemetry import names
from orchestrator_modules.wake import Wake


class Consumption:
    """Runs in the main thread until `end`.

    Args:
        broker_url: of the broker, with the account of the queue.
        queue: that is read.
        name: of the module.
        slots: how many stages are done at once.
        level: of the log.
        takes: whether stages are taken now.
        run: called with the key of a task and the number of an attempt, in a thread; returns why it failed, or None.
        beat: called when some attempts must stop.
    """

    def __init__(
        self,
        broker_url: str,
        queue: str,
        name: str,
        slots: int,
        level: str,
        takes: Callable[[], bool],
        run: Callable[[str, int], str | None],
        beat: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._slots = slots
        self._takes = takes
        self._counting = threading.Lock()
        self._running = self._heard = 0
        self._wake = Wake()
        self._ending, self._ended = threading.Event(), threading.Event()
        count = self._count
        app = self._app = Celery("module", set_as_current=False)
        app.conf.update(
            **connection.queue(broker_url, queue),
            worker_prefetch_multiplier=1,
            # A poke that this process cannot serve yet is for another replica.
            worker_disable_prefetch=on_redis(broker_url),
            task_acks_late=True,
            worker_consumer="orchestrator.broker.consumer:Consumer",
            worker_send_task_events=True,
            worker_redirect_stdouts=False,
            broker_connection_retry_on_startup=True,
            # Nobody may be there to start it again.
            broker_connection_max_retries=None,
        )

        @app.task(name=RUN_TASK, shared=False, bind=True)  # type: ignore[untyped-decorator]
        def run_task(self: Task, task: str, attempt: int) -> None:
            """Run an attempt at a stage.

            Args:
                task: its key.
                attempt: the number of the attempt that is due.
            """
            count(1)
            try:
                with processing(queue, broker_url, self.request, {names.TASK: task, names.ATTEMPT: attempt}) as span:
                    if kind := run(task, attempt):
                        span.fail(kind)
            finally:
                count(-1)

        @control_command(name=STOP_ATTEMPTS, args=[("tasks", list)])  # type: ignore[untyped-decorator]
        def stop_attempts(_: Any, **__: object) -> dict[str, str]:
            """Ask the orchestrator at once what must stop, and what it is told."""
            beat()
            return {"ok": "asking"}

        self._install()
        own_words.install()
        self._worker = app.Worker(
            hostname=f"{queue}@{name}",
            pool="threads",
            concurrency=slots,
            loglevel=level,
            task_events=True,
            quiet=True,
            without_gossip=True,
            without_mingle=True,
        )

    def run(self) -> None:
        """Take pokes until the end, or until Celery's worker has ended by itself."""
        self._select()
        try:
            if not self._ending.is_set():
                self._worker.start()
        finally:
            self._ended.set()

    def heard(self) -> int | None:
        """Return how often it was seen that a poke would be heard of, None where none need be, for `Watch`.

        None need be where all slots are taken, nothing is to be taken, or the broker cannot be reached.
        """
        running = self._worker.blueprint.state == bootsteps.RUN
        connecting = running and getattr(getattr(self._worker, "consumer", None), "connection", None) is None
        begun = self._worker.blueprint.state is not None
        wanted = not self._ending.is_set() and (self._ended.is_set() or self._free)
        return self._heard if begun and wanted and not connecting else None

    def facts(self) -> dict[str, object]:
        """Return what may say why it takes nothing, for the log."""
        return {
            "at_work": self._running,
            "in_hand": len(state.reserved_requests),
            "worker": self._worker.blueprint.human_state(),
        }

    def _count(self, more: int) -> None:
        with self._counting:
            self._running += more

    @property
    def _free(self) -> bool:
        return self._takes() and self._running < self._slots

    def _ticked(self) -> None:
        """Note that the loop goes round, unless Celery would take nothing all the same."""
        consumer = getattr(self._worker.consumer, "task_consumer", None)
        if consumer is None or not consumer.consuming_from(self._queue):
            return
        # Only what Kombu plays itself has these; a broker with channels of its own counts by itself.
        counted = getattr(consumer.channel, "qos", None)
        if len(state.reserved_requests) < self._slots and (counted is None or counted.can_consume()):
            self._heard += 1

    def look(self) -> None:
        """Look again whether stages are taken."""
        self._wake.up()

    def end(self, seconds: float) -> None:
        """Take none any more.

        Args:
            seconds: how long to wait until that is so.
        """
        self._ending.set()
        state.should_stop = os.EX_OK
        self._wake.up()
        self._ended.wait(seconds)

    def _install(self) -> None:
        consumption = self

        class Step(bootsteps.StartStopStep):  # type: ignore[misc]
            """Listens in the worker's event loop, where alone queues are taken up and left."""

            requires = ("celery.worker.components:Hub", "celery.worker.components:Pool")

            def register_with_event_loop(self, _: Any, hub: Any) -> None:
                hub.add_reader(consumption._wake.fileno(), consumption._adjust)
                hub.on_tick.add(consumption._ticked)
                consumption.look()

        self._app.steps["worker"].add(Step)

    def _select(self) -> bool:
        """Have the queue read or not when the broker is reached; return whether it is."""
        queues = self._app.amqp.queues
        takes = self._takes() and not self._ending.is_set()
        if takes:
            queues.select([self._queue])
        else:
            queues.deselect([self._queue] if self._queue in queues.consume_from else [])
        return takes

    def _adjust(self) -> None:
        self._wake.clear()
        takes = self._select()
        consumer = getattr(self._worker.consumer, "task_consumer", None)
        # Without a connection there is none, or it is the old one: the next begins with what is selected.
        with suppress(*self._worker.consumer.connection_errors):
            if consumer is None:
                return
            if takes and not consumer.consuming_from(self._queue):
                consumer.add_queue(self._app.amqp.queues[self._queue])
                consumer.consume()
            elif not takes and consumer.consuming_from(self._queue):
                consumer.cancel_by_queue(self._queue)
