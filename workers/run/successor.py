"""The process that goes on with an attempt whose process has gone, while its function runs on or has ended meanwhile.

The agent starts one for each such attempt (see `node.succession`), and gives it the lock of the attempt's folder; so
the attempt has one owner at any time. It holds the task by the same token: the agent renews the lease as before.

Started as `python -m workers.run.successor FOLDER LOCK`, with the worker's settings as JSON on standard input. Where it
finds nothing to go on with, it says so in the folder, and leaves it to the agent.
"""

import signal
import sys
from contextlib import ExitStack
from pathlib import Path

import structlog

from orchestrator import log as logs
from orchestrator import protos as pb
from orchestrator.client import Client
from orchestrator.core import crash
from workers.assets.fetching import Fetcher
from workers.assets.store import AssetStore
from workers.channels import Channels, connect
from workers.consent.policy import Consent
from workers.executors import strays
from workers.executors.lasting import LostRunError
from workers.executors.launcher.kernel import become_subreaper, die_with_parent
from workers.folder import Place, WorkingFolder
from workers.record import Record
from workers.run.claimed import Claimed, Work
from workers.run.container import ContainerRun
from workers.run.function import FunctionRun
from workers.run.handover import Handover
from workers.run.report import Report, StepReport
from workers.run.slot import Slot
from workers.settings import WorkerSettings

log = structlog.get_logger()


class Successor:
    """Goes on with one attempt.

    Args:
        settings: the worker's.
        channels: the organization's connections.
        working: the attempt's folder, which is this process's.
        record: of the process that has gone.
    """

    def __init__(self, settings: WorkerSettings, channels: Channels, working: WorkingFolder, record: Record) -> None:
        self._settings = settings
        self._channels = channels
        self._working = working
        self._record = record
        self._handover = Handover(working.path)
        self._log = log.bind(task=record.task, attempt=record.number)

    def run(self) -> None:
        """Bring the attempt to its end, or say that nobody can."""
        try:
            with ExitStack() as held:
                slot = Slot(self._settings)
                held.callback(slot.close)
                self._go_on(slot)
        except LostRunError as error:
            self._log.warning("task.not_taken_over", reason=str(error))
            self._handover.forget()
            self._working.unsettled = True
        except BaseException:
            # Another one may do better.
            self._working.unsettled = True
            raise

    def _go_on(self, slot: Slot) -> None:
        settings, record = self._settings, self._record
        client = next((each for each in self._channels.clients if each.channel == record.channel), None)
        if client is None:
            raise LostRunError(f"{settings.organization} is not in the channel {record.channel} any more")
        try:
            claim = self._handover.begun().claim
        except (OSError, ValueError) as error:
            raise LostRunError(str(error)) from error
        claim.attempt.CopyFrom(record.attempt)
        store = AssetStore(settings.store_root)
        work, told = self._step(client, claim, store) if claim.HasField("work") else self._function(client, claim, slot)
        Claimed(settings, slot, claim, self._working, store, told).go_on(work)

    def _step(self, client: Client, claim: pb.ClaimTaskResponse, store: AssetStore) -> tuple[Work, Report]:
        step = pb.ContainerWork()
        if not claim.work.Unpack(step):
            raise LostRunError("it is of a kind of work that this worker does not know")
        told = StepReport(client, claim.attempt, self._working, store, self._settings.store_url)
        return ContainerRun(step, Consent.of(self._settings).images), told

    def _function(self, client: Client, claim: pb.ClaimTaskResponse, slot: Slot) -> tuple[Work, Report]:
        settings, store = self._settings, AssetStore(self._settings.store_root)
        policy = Consent.of(settings).policy
        fetcher = Fetcher(settings, store, self._channels.peers[client], slot.downloads, policy.stores)
        told = Report(client, claim.attempt, self._working, store, settings.store_url)
        return FunctionRun(claim, fetcher, policy, None), told


def run(settings: WorkerSettings, place: Place, lock: int) -> None:
    """Go on with the attempt in a folder.

    Args:
        settings: the worker's.
        place: the folder.
        lock: the descriptor of its lock, which this process holds.
    """
    with WorkingFolder.seized(place, lock) as working, connect(settings) as channels:
        record = place.record()
        crash.point("successor.begun")
        if record is not None and record.runs:
            Successor(settings, channels, working, record).run()


def main() -> None:
    """Be the successor that the agent has started."""
    die_with_parent()
    become_subreaper()
    # What ends a worker is told by the agent.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    settings = WorkerSettings.model_validate_json(sys.stdin.readline())
    logs.configure_process(settings.log_level)
    structlog.contextvars.bind_contextvars(organization=settings.organization, node=settings.node)
    run(settings, Place(Path(sys.argv[1])), int(sys.argv[2]))
    strays.end_children()


if __name__ == "__main__":
    main()
