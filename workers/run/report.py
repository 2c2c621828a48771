"""What the orchestrator is told of an attempt that ends: its results, a fault, or that the task is given back."""

from pathlib import Path

import grpc
import structlog
from google.protobuf.message import Message

from orchestrator import protos as pb
from orchestrator.client import Client
from orchestrator.client.insistence import insist, lost
from orchestrator.core import crash
from workers.assets import task_logs
from workers.assets.store import AssetStore, url
from workers.errors import AddressFault, Fault, InternalFault, Stopped, TimeLimitFault
from workers.folder import WorkingFolder
from workers.run import orders
from workers.run.handover import Handover
from workers.run.orders import Orders
from workers.run.outputs import Results
from workers.run.stopwatch import Stopwatch

log = structlog.get_logger()

# The agent goes on trying when this was in vain.
_RELEASE_SECONDS = 5.0
_REFUSED = "OE0104"
# As the orchestrator accepts.
_LONGEST_REASON = 1000


def fail(client: Client, param: pb.FailTaskParam) -> None:
    """Report a failure, once and for all.

    Args:
        client: the connection to the orchestrator, in the task's channel.
        param: the report.

    Raises:
        Stopped: it was refused, since the attempt does not hold the task any more.
    """
    try:
        answer = insist(lambda: client.worker.FailTask(param))
    except grpc.RpcError as error:
        if (error.details() or "").startswith(_REFUSED):
            raise Stopped(f"the attempt does not hold the task any more: {error.details()}") from error
        log.warning("task.failure_not_reported", task=param.attempt.compute_task_key, error=error.details())
        return
    if answer.HasField("retry_after"):
        seconds = answer.retry_after.ToTimedelta().total_seconds()
        log.info("task.to_be_retried", task=param.attempt.compute_task_key, seconds=seconds)


class Report:
    """The report of one attempt.

    Args:
        client: the connection to the orchestrator, in the task's channel.
        attempt: which.
        working: its folder, of which it is said when the orchestrator knows.
        store: the organization's own, for the log of one that failed.
        store_url: its public URL.
    """

    def __init__(
        self, client: Client, attempt: pb.Attempt, working: WorkingFolder, store: AssetStore, store_url: str
    ) -> None:
        self._client = client
        self._attempt = attempt
        self._working = working
        self._store = store
        self._store_url = store_url
        self._log = log.bind(task=attempt.compute_task_key, attempt=attempt.number)

    def complete(self, results: Results, stopwatch: Stopwatch, told: Orders) -> None:
        """Hand over the results, for as long as it takes.

        Args:
            results: of the attempt.
            stopwatch: with its steps.
            told: what the attempt hears meanwhile.

        Raises:
            Stopped: it does not hold the task any more.
            InternalFault: the results were refused.
        """
        param = pb.CompleteTaskParam(
            attempt=self._attempt,
            models=results.models,
            performances=results.performances,
            profiling_steps=stopwatch.steps,
        )
        if (done := self._done()) is not None:
            param.results.Pack(done)
        self._keep_told(param)
        self._complete(param, told)

    def repeat(self, report: pb.CompleteTaskParam | pb.FailTaskParam, told: Orders) -> None:
        """Tell what a process was about to tell that has gone: if it did, nothing changes.

        Args:
            report: its very words.
            told: what the attempt hears meanwhile.

        Raises:
            Stopped: it does not hold the task any more.
            InternalFault: the results were refused.
        """
        if isinstance(report, pb.CompleteTaskParam):
            self._complete(report, told)
            return
        fail(self._client, report)
        self._working.settle()

    def _keep_told(self, report: pb.CompleteTaskParam | pb.FailTaskParam) -> None:
        """Keep a report for who goes on after this process, where anybody can."""
        handover = Handover(self._working.path)
        try:
            if handover.is_there:
                handover.tell(report)
        except OSError as error:
            # As on a full disk: it is told all the same.
            self._log.warning("task.report_not_kept", error=str(error))

    def _complete(self, param: pb.CompleteTaskParam, told: Orders) -> None:
        crash.point("worker.before_report")
        try:
            # As long as it takes: a training may be in it. An order to end it is obeyed, but only after one more time:
            # what was done, and never answered, must not be discarded.
            insist(
                lambda: self._client.worker.CompleteTask(param),
                enough=lambda: orders.given(self._working.place) is not None,
                pause=told.pause,
            )
        except grpc.RpcError as error:
            if lost(error):
                # It may be Done: the models must stay. If it is not, the lease ends, and another attempt runs.
                self._log.error("task.completion_unanswered", error=error.details())
                return
            if (error.details() or "").startswith(_REFUSED):
                raise Stopped(f"the attempt does not hold the task any more: {error.details()}") from error
            raise InternalFault(f"the orchestrator refused the results: {error.details()}") from error
        crash.point("worker.reported")
        self._working.settle()
        self._log.info("task.done", models=len(param.models))

    def fail(self, fault: Fault, results: Results, said: Path) -> str:
        """Report a fault, with the log in the store; what was made is discarded.

        Args:
            fault: whose it was, and why.
            results: of the attempt.
            said: the log; the fault is written to its end.

        Returns:
            What has failed and why, for the worker's own people.

        Raises:
            Stopped: the attempt does not hold the task any more.
        """
        param = pb.FailTaskParam(
            attempt=self._attempt,
            error_type=fault.error_type,
            timed_out=isinstance(fault, TimeLimitFault),
            reason=self._reason(fault)[:_LONGEST_REASON],
        )
        try:
            results.discard(self._store)
            with said.open("a", encoding="utf-8") as file:
                file.write(f"\nTask failed: {fault}\n")
            address = self._keep(said)
            if address is not None and fault.error_type != pb.ERROR_TYPE_INTERNAL:
                param.logs_address.CopyFrom(address)
        except OSError as error:
            # Without a log in the store the only report that the contract allows is an internal one.
            self._log.error("task.log_not_stored", error=str(error))
            param.error_type = pb.ERROR_TYPE_INTERNAL
            param.timed_out = False
        error_type = pb.ErrorType.Name(param.error_type)
        self._log.warning("task.failed", error_type=error_type, reason=str(fault))
        self._keep_told(param)
        fail(self._client, param)
        self._working.settle()
        return f"{error_type.removeprefix('ERROR_TYPE_')}: {fault}"

    def _done(self) -> Message | None:
        """Return what is reported besides, of work of another kind than compute."""
        return None

    def _reason(self, fault: Fault) -> str:
        """Return what the channel is told of a fault."""
        # Of an internal fault the log is not for others, and this one is another's to mend.
        return str(fault) if isinstance(fault, AddressFault) else ""

    def _keep(self, said: Path) -> pb.Addressable | None:
        """Keep the log for whoever may read it; return where, if the report is to say so.

        Raises:
            OSError: it cannot be kept.
        """
        stored = self._store.put(f"logs/{self._attempt.compute_task_key}-{self._attempt.number}", said)
        # From now on it is read there, by whom the contract lets.
        self._store.forget(self._copied)
        return pb.Addressable(checksum=stored.checksum, storage_address=url(self._store_url, stored.name))

    @property
    def _copied(self) -> str:
        """The name of the log in the store while the attempt runs."""
        return task_logs.name(self._attempt.compute_task_key, self._attempt.number)

    def release(self, reason: str) -> None:
        """Give the task back; the agent goes on where that was in vain.

        Args:
            reason: why, for people.
        """
        param = pb.ReleaseTaskParam(attempt=self._attempt, reason=reason)
        try:
            insist(lambda: self._client.worker.ReleaseTask(param), _RELEASE_SECONDS)
        except grpc.RpcError as error:
            self._working.stopped = (error.details() or "").startswith(_REFUSED)
            self._working.unsettled = lost(error)
            self._log.warning("task.not_released", error=error.details())
            return
        self._working.settle()
        self._log.info("task.released", reason=reason)


class StepReport(Report):
    """The report of one attempt at a container step: the channel is told why it failed, and its log stays where it is.

    What such a step says is nobody's but the organization's that runs it, and the execution's owner's.
    """

    def _done(self) -> Message:
        return pb.ContainerDone()

    def _reason(self, fault: Fault) -> str:
        return str(fault)

    def _keep(self, said: Path) -> None:
        self._store.put(self._copied, said)
