"""Workers of containers in threads of the test: each reads its organization's queue, and runs one thing at a time."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self
from uuid import uuid4

from celery import Celery

from orchestrator import protos as pb
from orchestrator.broker import connection
from orchestrator.client import CallError, Client
from orchestrator.core import pokes

_HEARTBEAT_SECONDS = 0.3


class Slot:
    """A worker with one slot.

    Args:
        address: of the server.
        channel: that it works for.
        broker: URL of a Valkey.
        organization: whose it is.
        run: is given what is to be done; whatever it raises is reported as the container's failure.
    """

    def __init__(
        self, address: str, channel: str, broker: str, organization: str, run: Callable[[pb.ContainerWork], object]
    ) -> None:
        self._client = Client(address, organization, channel)
        self._queue = pokes.queue(organization)
        self._app = Celery("slot", set_as_current=False)
        self._app.conf.update(**connection.queue(broker, self._queue))
        self._run = run
        self._held: list[pb.Attempt] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._beat, self._work)]

    def __enter__(self) -> Self:
        self._client.__enter__()
        self._heartbeat()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)
        self._client.__exit__(kind, error, trace)

    def _heartbeat(self) -> None:
        self._client.worker.Heartbeat(
            pb.HeartbeatParam(node="slot", attempts=self._held, slots=1, queue=self._queue), timeout=10
        )

    def _beat(self) -> None:
        while not self._over.wait(_HEARTBEAT_SECONDS):
            self._heartbeat()

    def _work(self) -> None:
        with self._app.connection_for_read() as broker, broker.SimpleQueue(self._queue) as queue:
            while not self._over.is_set():
                try:
                    message = queue.get(timeout=0.2)
                except queue.Empty:
                    continue
                message.ack()
                if message.headers.get("task") == pokes.RUN_TASK:
                    self._do(**message.payload[1])

    def _do(self, task: str, attempt: int) -> None:
        asked = pb.ClaimTaskParam(compute_task_key=task, attempt=attempt, node="slot", claim_id=uuid4().hex)
        try:
            claimed = self._client.worker.ClaimTask(asked)
        except CallError:
            # Somebody else has it, or it has ended.
            return
        self._held.append(claimed.attempt)
        work = pb.ContainerWork()
        claimed.work.Unpack(work)
        try:
            self._run(work)
        except Exception as error:
            reason = f"{type(error).__name__} {error}"
            report = pb.FailTaskParam(attempt=claimed.attempt, error_type=pb.ERROR_TYPE_EXECUTION, reason=reason)
            self._client.worker.FailTask(report)
        else:
            done = pb.CompleteTaskParam(attempt=claimed.attempt)
            done.results.Pack(pb.ContainerDone())
            self._client.worker.CompleteTask(done)
        finally:
            self._held.remove(claimed.attempt)
