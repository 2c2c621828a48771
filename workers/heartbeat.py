"""Keeps an attempt's lease alive, and hears when it must stop."""

import threading
from types import TracebackType
from typing import Self

import grpc
import structlog
from google.protobuf.duration_pb2 import Duration

from orchestrator import protos as pb
from orchestrator.client import Client

log = structlog.get_logger()

_SHORTEST_SECONDS = 0.1


class Heartbeat:
    """A thread that renews the lease three times in its length, as long as the block runs.

    It shares nothing with the function's process: a function that hangs keeps its lease until its time limit.

    Args:
        client: the connection to the orchestrator.
        node: this worker's name.
        attempt: the one to keep alive.
        lease: how long it is believed to live from now on.

    Attributes:
        stop: set when the orchestrator wants the attempt to end.
        reason: the orchestrator's words for that.
    """

    def __init__(self, client: Client, node: str, attempt: pb.Attempt, lease: Duration) -> None:
        self.stop = threading.Event()
        self.reason = ""
        self._client = client
        self._param = pb.HeartbeatParam(node=node, attempts=[attempt])
        self._attempt = attempt
        self._period = _period(lease)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._period):
            try:
                # An answer that comes after the next beat is due is of no use.
                answer = self._client.worker.Heartbeat(self._param, timeout=max(1.0, self._period))
            except grpc.RpcError as error:
                log.warning("heartbeat.lost", task=self._attempt.compute_task_key, error=error.details())
                continue
            self._period = _period(answer.lease)
            for order in answer.stops:
                ours = (self._attempt.compute_task_key, self._attempt.number)
                if (order.compute_task_key, order.number) == ours:
                    self.reason = order.reason
                    self.stop.set()
                    return


def _period(lease: Duration) -> float:
    return max(_SHORTEST_SECONDS, lease.ToTimedelta().total_seconds() / 3)
