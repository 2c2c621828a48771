"""The run of one attempt: claim what a poke announced, and hand it to what runs work of its kind.

An attempt whose claim is refused, or that is told to stop, leaves no trace: the task is another's, or nobody's. The
agent (see `agent`), in a process of its own, renews its lease and tells it to stop.
"""

import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress

import grpc
import structlog

from orchestrator import protos as pb
from orchestrator.client import Client
from orchestrator.client.insistence import Answer, insist
from orchestrator.core import crash
from workers.assets.fetching import Fetcher
from workers.assets.store import AssetStore
from workers.consent.declines import Asking
from workers.errors import Stopped
from workers.executors.lease import clock
from workers.folder import WorkingFolder
from workers.record import Record
from workers.run import orders, report
from workers.run.claimed import Claimed
from workers.run.container import ContainerRun
from workers.run.function import FunctionRun
from workers.run.report import Report, StepReport
from workers.run.slot import Slot
from workers.settings import WorkerSettings

log = structlog.get_logger()

_CLAIM_SECONDS = 60.0
# Of a key: what commands take for it.
_SHORT = 8
_UNKNOWN = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.PERMISSION_DENIED)
_STRANGE = "its worker runs functions and container steps, and was handed something else"


def run(
    settings: WorkerSettings,
    asking: Asking,
    slot: Slot,
    task: str,
    number: int,
    claimed: Callable[[], None],
    described: Callable[[str, str], None] = lambda _task, _plan: None,
) -> str:
    """Claim a task that a poke announced, and run it to its report; or decline it.

    Args:
        settings: the worker's.
        asking: says what is consented to; the first channel that knows the task is used.
        slot: where it runs.
        task: its key.
        number: of the attempt, 0 for whichever is due.
        claimed: called as soon as the claim is the worker's: the poke has done its work.
        described: called with what people call the task, and its compute plan.

    Returns:
        Why it failed, and where to read more; empty where it did not.
    """
    runner = _Runner(settings, asking, slot, claimed, described)
    param = pb.ClaimTaskParam(compute_task_key=task, attempt=number, node=settings.node, claim_id=str(uuid.uuid4()))
    try:
        return runner.run(param)
    except grpc.RpcError as error:
        # Ordinary: another worker has it, it was cancelled; or nobody answers, and it will be poked again.
        described(f"{task[:_SHORT]} not claimed", "")
        log.info("task.not_claimed", task=task, attempt=number, reason=error.details())
        return ""


class _Runner:
    """Runs what one poke announced; see `run`."""

    def __init__(
        self,
        settings: WorkerSettings,
        asking: Asking,
        slot: Slot,
        claimed: Callable[[], None],
        described: Callable[[str, str], None],
    ) -> None:
        self._settings = settings
        self._asking = asking
        self._slot = slot
        self._claimed = claimed
        self._described = described
        self._sent = 0.0

    def run(self, param: pb.ClaimTaskParam) -> str:
        """Claim and run it, by what it is.

        Raises:
            grpc.RpcError: it was not claimed.
        """
        try:
            claimed = self._asking.claim(param, self._send)
        except grpc.RpcError as error:
            if error.code() not in _UNKNOWN:
                raise
            # No function: where it is a container step, the map of images decides when it is claimed.
            client, claim = self._asking.channels.find(
                lambda client: self._send(lambda: client.worker.ClaimTask(param))
            )
            return self._run_step(client, claim)
        if claimed is None:
            self._described(f"{param.compute_task_key[:_SHORT]} declined", "")
            return ""
        client, asked, claim = claimed
        self._claimed()
        try:
            if not self._asking.holds(client, asked, claim):
                return ""
        except grpc.RpcError as error:
            # Nobody runs it here; its lease ends, and it is decided on anew.
            number = claim.attempt.number
            log.error("task.not_given_back", task=claim.task.key, attempt=number, reason=error.details())
            return ""
        return self._run_function(client, claim, claim.function.owner)

    def _send(self, claim: Callable[[], Answer]) -> Answer:
        self._sent = clock()
        return insist(claim, _CLAIM_SECONDS)

    def _run_step(self, client: Client, claim: pb.ClaimTaskResponse) -> str:
        self._claimed()
        work = pb.ContainerWork()
        if not claim.work.Unpack(work):
            fault = pb.FailTaskParam(attempt=claim.attempt, error_type=pb.ERROR_TYPE_INTERNAL, reason=_STRANGE)
            with suppress(Stopped):
                report.fail(client, fault)
            return _STRANGE
        self._described(f"{work.step} ({work.image}){_again(claim)}", f"execution {work.execution}")
        with ExitStack() as held:
            folder = self._enter(held, client, claim, None)
            if folder is None:
                return "no working folder"
            store = AssetStore(self._settings.store_root)
            told = StepReport(client, claim.attempt, folder, store, self._settings.store_url)
            return Claimed(self._settings, self._slot, claim, folder, store, told).run(
                ContainerRun(work, self._asking.consent.images)
            )

    def _run_function(self, client: Client, claim: pb.ClaimTaskResponse, owner: str) -> str:
        self._described(*_words(claim, self._asking.plan_name(client, claim.task.compute_plan_key)))
        policy, slot, settings = self._asking.consent.policy, self._slot, self._settings
        # What is prepared shows a function its own folder alone.
        spare = None if owner in policy.network or _reads_samples(claim) else slot.take()
        with ExitStack() as held:
            folder = self._enter(held, client, claim, spare)
            if folder is None:
                return "no working folder"
            store = AssetStore(settings.store_root)
            told = Report(client, claim.attempt, folder, store, settings.store_url)
            fetcher = Fetcher(settings, store, self._asking.channels.peers[client], slot.downloads, policy.stores)
            prepared = spare.path if spare is not None else None
            return Claimed(settings, slot, claim, folder, store, told).run(
                FunctionRun(claim, fetcher, policy, prepared)
            )

    def _enter(
        self, held: ExitStack, client: Client, claim: pb.ClaimTaskResponse, spare: WorkingFolder | None
    ) -> WorkingFolder | None:
        """Return the attempt's working folder, entered; None where there can be none, and that is reported."""
        attempt = claim.attempt
        log.info("task.claimed", task=attempt.compute_task_key, attempt=attempt.number, channel=client.channel)
        crash.point("worker.claimed")
        record = Record.of_attempt(attempt, client.channel)
        name = f"{attempt.compute_task_key}-{attempt.number}"
        try:
            folder = held.enter_context(WorkingFolder(self._settings.node_folder, name, record, spare))
            orders.renew(folder.place, self._sent + claim.lease.ToTimedelta().total_seconds())
        except OSError as error:
            log.error("task.no_folder", task=attempt.compute_task_key, attempt=attempt.number, error=str(error))
            if spare is not None:
                self._slot.executor.end(spare.path, 0.0)
            with suppress(Stopped):
                report.fail(client, pb.FailTaskParam(attempt=attempt, error_type=pb.ERROR_TYPE_INTERNAL))
            return None
        return folder


def _words(claim: pb.ClaimTaskResponse, plan: str) -> tuple[str, str]:
    """Return what people call a task, and its plan: names and beginnings of keys, each as short as a table shows."""
    task, function = claim.task, claim.function
    name = f"{task.key[:_SHORT]} {function.name} ({function.key[:_SHORT]})"
    return f"{name}{_again(claim)}", f"{task.compute_plan_key[:_SHORT]} {plan}"


def _again(claim: pb.ClaimTaskResponse) -> str:
    return f", attempt {claim.attempt.number}" if claim.attempt.number > 1 else ""


def _reads_samples(claim: pb.ClaimTaskResponse) -> bool:
    return any(asset.HasField("data_sample") for asset in claim.input_assets)
