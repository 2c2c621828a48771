"""One claimed attempt in its working folder, whatever its kind of work: its run from there to its report."""

import hashlib
from dataclasses import replace
from typing import Protocol

import structlog
from structlog.contextvars import bound_contextvars

from orchestrator import protos as pb
from orchestrator.core import crash
from orchestrator.telemetry import spans, traceparent
from workers.assets import task_logs
from workers.assets.store import AssetStore
from workers.assets.task_logs import Copying
from workers.errors import ExecutionFault, Fault, InternalFault, Released, Stopped, TimeLimitFault
from workers.executors import watch
from workers.executors.executor import LOG, Ending, Job, Limits, Outcome
from workers.folder import WorkingFolder, places
from workers.run import orders
from workers.run.orders import Orders
from workers.run.outputs import JOURNAL, Results
from workers.run.report import Report
from workers.run.slot import Slot
from workers.run.stopwatch import Stopwatch
from workers.settings import WorkerSettings

_POLL_SECONDS = 0.05
_DIGITS = 16

log = structlog.get_logger()


class Claimed:
    """A claimed attempt.

    Args:
        settings: the worker's.
        slot: where it runs.
        claim: what the orchestrator answered.
        working: its folder.
        store: the organization's own.
        report: what the orchestrator is told at its end.

    Attributes:
        orders: what it hears.
        results: what it has made.
        stopwatch: with its steps.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        slot: Slot,
        claim: pb.ClaimTaskResponse,
        working: WorkingFolder,
        store: AssetStore,
        report: Report,
    ) -> None:
        self.settings = settings
        self.executor = slot.executor
        self.attempt = claim.attempt
        self.folder = working.path
        self.lease = working.place.owner
        self.store = store
        self.orders = Orders(working.place)
        self.results = Results(working.path / JOURNAL)
        self.stopwatch = Stopwatch(claim.attempt.compute_task_key)
        seconds = settings.task_time_limit
        if claim.HasField("time_limit"):
            seconds = min(seconds, claim.time_limit.ToTimedelta().total_seconds())
        self.limits = slot.limits(seconds)
        self._working = working
        self._report = report
        self._log = log.bind(task=claim.attempt.compute_task_key, attempt=claim.attempt.number)

    def run(self, work: "Work") -> str:
        """Do the work and report its results, or the fault; an order to end is obeyed without a report.

        Returns:
            Why it failed; empty where it did not.
        """
        try:
            try:
                (self.folder / LOG).touch(mode=0o600)
                self._end_earlier_runs()
                work.produce(self)
                self.orders.obey()
                self._report.complete(self.results, self.stopwatch, self.orders)
            except Fault as fault:
                return self._fail(work, fault)
            except (Stopped, Released):
                raise
            except Exception as error:
                self._log.exception("task.worker_error")
                own = InternalFault(f"the worker ran into an error of its own: {type(error).__name__}: {error}")
                return self._fail(work, own)
        except Stopped as order:
            self.results.discard(self.store)
            self._working.stopped = True
            self._log.info("task.stopped", reason=str(order))
        except Released as order:
            self.results.discard(self.store)
            self._report.release(str(order))
        finally:
            work.close(self)
        return ""

    def execute(self, job: Job, what: str) -> None:
        """Run a command to its end, with what it says in the own store meanwhile.

        Args:
            job: the command.
            what: it is, for people.

        Raises:
            Fault: it has not ended as it should.
            Stopped: the orchestrator wants the attempt to end.
            Released: this worker ends.
        """
        key, number = self.attempt.compute_task_key, self.attempt.number
        crash.point("worker.before_run")
        about = {"task": key, "attempt": number}
        said = Copying(self.store, task_logs.name(key, number), self.folder / LOG, about, again=number > 1)
        with self.stopwatch.step("execution"), bound_contextvars(**about), said:
            where = spans.current()
            variables = {} if where is None else {traceparent.VARIABLE: where}
            outcome = watch.run(self.executor, replace(job, variables=variables), self.orders)
        crash.point("worker.ran")
        self.orders.obey()
        _judge(outcome, job.limits, what)

    @property
    def about(self) -> dict[str, str]:
        """What its run is known by where others look at it; a digest stands for its token."""
        attempt = self.attempt
        token = hashlib.sha256(attempt.token.encode()).hexdigest()[:_DIGITS]
        return {"task": attempt.compute_task_key, "attempt": str(attempt.number), "token": token}

    def _end_earlier_runs(self) -> None:
        """End what this node still runs of the task, and wait for it: an attempt whose lease ran out unheard."""
        task = self.attempt.compute_task_key
        others = [place for place in places(self.settings.node_folder) if place.folder != self.folder]
        for place in others:
            if place.folder.name.startswith(f"{task}-"):
                orders.give(place, orders.Kind.STOP, f"attempt {self.attempt.number} has the task now")
                while place.lives() or self.executor.alive(place.folder):
                    self.orders.obey()
                    self.orders.wait(_POLL_SECONDS)

    def _fail(self, work: "Work", fault: Fault) -> str:
        self.orders.obey()
        return f"{self._report.fail(fault, self.results, self.folder / LOG)}; read its log with `{work.logs}`"


class Work(Protocol):
    """What is done in a claimed attempt."""

    @property
    def logs(self) -> str:
        """The command that prints what it says."""
        ...

    def produce(self, claimed: Claimed) -> None:
        """Do it; what it makes is in the attempt's results then.

        Raises:
            Fault: it cannot be done, or has failed.
            Stopped: the orchestrator wants the attempt to end.
            Released: this worker ends.
        """
        ...

    def close(self, claimed: Claimed) -> None:
        """Let go of all that it holds; it has ended, in whatever way."""
        ...


def _judge(outcome: Outcome, limits: Limits, what: str) -> None:
    """Go on only after an end without a fault.

    Raises:
        TimeLimitFault: it ran too long.
        ExecutionFault: it failed in another way.
    """
    if outcome.ending is Ending.TIMED_OUT:
        raise TimeLimitFault(f"the {what} was ended: it ran longer than {limits.time:g} seconds")
    if outcome.ending is Ending.EXCEEDED:
        raise ExecutionFault(outcome.reason)
    if outcome.exit_code > 128:
        raise ExecutionFault(
            f"the {what} was killed by signal {outcome.exit_code - 128}; when it is 9, memory may have "
            "run out; see the lines above"
        )
    if outcome.exit_code != 0:
        raise ExecutionFault(f"the {what} exited with code {outcome.exit_code}; see the lines above")
