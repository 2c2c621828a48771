"""Renews the leases of all attempts that a node runs in one channel, and hears which of them must stop."""

import threading
import time
from pathlib import Path

import grpc
import structlog

from orchestrator import protos as pb
from orchestrator.client import Client
from orchestrator.client.insistence import lost
from orchestrator.core import crash
from workers import folder
from workers.executors.lease import clock
from workers.folder import Place
from workers.record import Record
from workers.run import orders

log = structlog.get_logger()

_FIRST_PERIOD_SECONDS = 5.0
_FIRST_LEASE_SECONDS = 60.0
_RETRY_SECONDS = 2.0
# Who has just started is waited for.
_FIRST_RETRY_SECONDS = 0.5
# However often somebody calls for a heartbeat.
_SHORTEST_SECONDS = 0.1


class Heartbeat(threading.Thread):
    """Beats three times in the length of a lease, also when the node is idle, and at once when asked to.

    What runs it reads from the node's folder, and what it is told it writes there: it holds no state that could be
    lost with its process.

    Args:
        client: the connection to the orchestrator, in one channel.
        node: this worker's name.
        parent: the node's folder.
        slots: how many attempts it can run at once, in all channels.

    Attributes:
        lease: how long an attempt is believed to live without a heartbeat, in seconds; until the first answer, a guess.
        heard_at: when a beat was answered last, by the monotonic clock.
        complaint: why the last one was not.
    """

    def __init__(self, client: Client, node: str, parent: Path, slots: int) -> None:
        super().__init__(name=f"heartbeat-{client.channel}", daemon=True)
        self.channel = client.channel
        self._client = client
        self._node = node
        self._parent = parent
        self._slots = slots
        self.lease = _FIRST_LEASE_SECONDS
        self._period = _FIRST_PERIOD_SECONDS
        self._heard = True
        self.heard_at: float | None = None
        self.complaint = ""
        self._due = threading.Event()
        self._ended = threading.Event()
        self._log = log.bind(node=node, channel=client.channel)

    def beat_now(self) -> None:
        """Do not wait for the period."""
        self._due.set()

    def end(self) -> None:
        """Beat no more."""
        self._ended.set()
        self._due.set()

    def run(self) -> None:
        """Beat until the end."""
        while not self._ended.is_set():
            begin = time.monotonic()
            self._due.clear()
            try:
                pause = self._beat()
            except OSError as error:
                # Whatever is wrong with the folder, the other leases must not run out for it.
                self._log.error("heartbeat.failed", error=f"{type(error).__name__}: {error}")
                pause = _RETRY_SECONDS
            self._ended.wait(_SHORTEST_SECONDS)
            self._due.wait(max(0.0, begin + pause - time.monotonic()))

    def _beat(self) -> float:
        """Beat; return the seconds until the next beat is due."""
        running = self._running()
        receipts = self._receipts()
        param = pb.HeartbeatParam(
            node=self._node,
            attempts=[record.attempt for _, record in running],
            stopped=[record.attempt for _, record in receipts],
            slots=self._slots,
        )
        crash.point("agent.before_beat")
        sent = clock()
        try:
            # An answer that comes after the next beat is due is of no use.
            answer = self._client.worker.Heartbeat(param, timeout=max(1.0, self._period))
        except grpc.RpcError as error:
            if self._heard:
                self._log.warning("heartbeat.lost", attempts=len(running), error=error.details())
            self._heard = False
            self.complaint = error.details() or error.code().name
            retry = _FIRST_RETRY_SECONDS if self.heard_at is None else _RETRY_SECONDS
            return min(self._period, retry) if lost(error) else self._period
        crash.point("agent.beaten")
        if not self._heard:
            self._log.info("heartbeat.heard_again", attempts=len(running))
        self._heard = True
        self.heard_at = time.monotonic()
        self.complaint = ""
        self.lease = answer.lease.ToTimedelta().total_seconds()
        stops = {(order.compute_task_key, order.number): order.reason for order in answer.stops}
        for place, record in running:
            reason = stops.get((record.task, record.number))
            if reason is None:
                orders.renew(place, sent + self.lease)
            else:
                orders.give(place, orders.Kind.STOP, reason)
        for file, _ in receipts:
            file.unlink(missing_ok=True)
        self._period = max(_SHORTEST_SECONDS, self.lease / 3)
        return self._period

    def _running(self) -> list[tuple[Place, Record]]:
        """Return the attempts that are there; one whose process is gone is there until it has been cleaned up."""
        records = ((place, place.record()) for place in folder.places(self._parent))
        return [(place, record) for place, record in records if record is not None and self._ours(record)]

    def _receipts(self) -> list[tuple[Path, Record]]:
        records = ((file, folder.read(file)) for file in folder.receipts(self._parent))
        return [(file, record) for file, record in records if record is not None and self._ours(record)]

    def _ours(self, record: Record) -> bool:
        return record.runs and record.channel == self.channel
