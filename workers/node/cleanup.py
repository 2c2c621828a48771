"""The end of what a process that is gone has begun: nothing of it may be left, and the orchestrator is told."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

import grpc
import structlog

from orchestrator import protos as pb
from orchestrator.client import Client
from orchestrator.client.insistence import lost
from orchestrator.core import crash
from orchestrator.removal import remove
from workers.assets import disabling
from workers.assets.store import AssetStore
from workers.executors.executor import Executor
from workers.folder import Place
from workers.record import Record
from workers.run import orders
from workers.run.outputs import JOURNAL, announced

log = structlog.get_logger()

_CALL_SECONDS = 5.0
_RETRY_SECONDS = 2.0


class Cleanup:
    """Buries what was abandoned in a node's folder.

    Args:
        clients: the connections to the orchestrator, by channel.
        store_root: where the organization's assets lie.
        executor: of the node's functions.
        grace: seconds that a function has to end, when its worker has gone.

    Attributes:
        leaving: whether the worker ends: what is abandoned then was not lost but given back.
    """

    def __init__(self, clients: Mapping[str, Client], store_root: str, executor: Executor, grace: float) -> None:
        self.leaving = False
        self._clients = clients
        self._store_root = store_root
        self._executor = executor
        self._grace = grace
        self._later: dict[Path, float] = {}

    def seize(self, place: Place) -> int | None:
        """Take over an abandoned folder, to clean it up.

        Returns:
            The lock; None when the folder has an owner, or an earlier cleanup of it could not be finished just now.
        """
        return place.seize() if time.monotonic() >= self._later.get(place.folder, 0.0) else None

    def clean_up(self, place: Place, lock: int) -> None:
        """End what still runs in an abandoned folder, do what is left to do, remove the folder.

        Args:
            place: the folder.
            lock: what `seize` returned; it is closed.

        Raises:
            OSError: the folder cannot be removed.
        """
        try:
            self._clean_up(place)
        finally:
            os.close(lock)

    def _clean_up(self, place: Place) -> None:
        self._later[place.folder] = time.monotonic() + _RETRY_SECONDS
        if not self._executor.end(place.folder, self._grace):
            log.error("folder.strays_left", folder=place.folder.name)
            return
        record = place.record()
        # The task need not wait until a large folder is removed.
        settled, stopped = (True, False) if record is None else self._settle(place, record)
        crash.point("agent.reported")
        if settled:
            remove(place.folder)
            place.leave(stopped=stopped)
            del self._later[place.folder]

    def _settle(self, place: Place, record: Record) -> tuple[bool, bool]:
        """Do what is left to do; return whether it is done, and whether the orchestrator is to get a receipt."""
        if record.runs:
            return self._settle_attempt(place, record)
        return not record.task or self._settle_models(record), False

    def _settle_models(self, record: Record) -> bool:
        """Delete the files of a task's models that are disabled; return whether none of them is left."""
        client = self._clients.get(record.channel)
        if client is None:
            log.warning("models.abandoned", task=record.task, reason="not in its channel any more")
            return True
        return disabling.delete_disabled(client, record.task, AssetStore(self._store_root))

    def _settle_attempt(self, place: Place, record: Record) -> tuple[bool, bool]:
        """Tell the orchestrator; return whether it knows, and whether it is to get a receipt for a stop."""
        order = orders.given(place)
        client = self._clients.get(record.channel)
        if order is not None and order.kind is orders.Kind.STOP:
            return True, True
        crash.point("agent.before_report")
        if client is None:
            log.warning("task.abandoned", task=record.task, attempt=record.number, reason="not in its channel any more")
            return True, False
        try:
            if self.leaving or order is not None:
                client.worker.ReleaseTask(
                    pb.ReleaseTaskParam(attempt=record.attempt, reason="its worker has ended"), timeout=_CALL_SECONDS
                )
                log.info("task.released", task=record.task, attempt=record.number)
            else:
                _report_lost(client, record)
                log.warning("task.lost", task=record.task, attempt=record.number)
        except grpc.RpcError as error:
            if lost(error):
                return False, False
            # It holds the task no more: cancelled, given to another, or reported just before its process went.
            log.info("task.lost_already", task=record.task, attempt=record.number, reason=error.details())
            return True, True
        self._discard(place)
        return True, False

    def _discard(self, place: Place) -> None:
        """Delete the results of an attempt that held its task to its end: nobody knows them, and nobody will."""
        store = AssetStore(self._store_root)
        for name in announced(place.folder / JOURNAL):
            store.delete(name)


def _report_lost(client: Client, record: Record) -> None:
    # Not ReleaseTask: a task that kills its worker again and again must not be tried for ever.
    report = pb.FailTaskParam(attempt=record.attempt, error_type=pb.ERROR_TYPE_INTERNAL, lost=True)
    client.worker.FailTask(report, timeout=_CALL_SECONDS)
