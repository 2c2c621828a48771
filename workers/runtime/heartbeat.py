"""The heartbeats of a runtime: they renew the leases of its steps, and hear which must stop."""

import threading
import time

import grpc
import structlog

from orchestrator import protos as pb
from orchestrator.client import Client
from workers.runtime.running import Running

log = structlog.get_logger()

_FIRST_SECONDS = 1.0
_SHORTEST_SECONDS = 0.2


class Heartbeat(threading.Thread):
    """Beats in one channel, until it is ended.

    Args:
        client: the connection in that channel.
        node: the name of the runtime.
        queue: that it reads.
        slots: how many steps it does at once.
        running: what it does.
    """

    def __init__(self, client: Client, node: str, queue: str, slots: int, running: Running) -> None:
        super().__init__(name=f"heartbeat-{client.channel}", daemon=True)
        self.channel = client.channel
        self._client = client
        self._node, self._queue, self._slots = node, queue, slots
        self._running = running
        self._ended = threading.Event()
        self._due = threading.Event()
        self._period = _FIRST_SECONDS
        self._lease = _FIRST_SECONDS
        self._heard_at: float | None = None
        self.complaint = "not asked yet"

    @property
    def heard(self) -> bool:
        """Whether the orchestrator has answered lately."""
        return self._heard_at is not None and time.monotonic() - self._heard_at < self._lease

    def end(self) -> None:
        """Beat no more."""
        self._ended.set()
        self._due.set()

    def beat_now(self) -> None:
        """Do not wait for the period."""
        self._due.set()

    def run(self) -> None:
        """Beat until the end."""
        while not self._ended.is_set():
            self._due.clear()
            try:
                self._beat()
            except grpc.RpcError as error:
                if not self.complaint:
                    log.warning("heartbeat.lost", channel=self.channel, error=error.details())
                self.complaint = error.details() or error.code().name
            self._ended.wait(_SHORTEST_SECONDS)
            self._due.wait(self._period - _SHORTEST_SECONDS)

    def _beat(self) -> None:
        held, receipts = self._running.of(self.channel), self._running.receipts(self.channel)
        param = pb.HeartbeatParam(
            node=self._node,
            attempts=[each.attempt for each in held],
            stopped=[each.attempt for each in receipts],
            slots=self._slots,
            queue=self._queue,
        )
        answer = self._client.worker.Heartbeat(param, timeout=max(_FIRST_SECONDS, self._period))
        self._lease = answer.lease.ToTimedelta().total_seconds()
        self._period = max(_SHORTEST_SECONDS, self._lease / 3)
        self._heard_at, self.complaint = time.monotonic(), ""
        self._running.told(receipts)
        stops = {(order.compute_task_key, order.number) for order in answer.stops}
        for each in held:
            if (each.attempt.compute_task_key, each.attempt.number) in stops:
                each.stopped.set()
