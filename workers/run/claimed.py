"""One claimed attempt in its working folder, whatever its kind of work: its run from there to its report."""

import hashlib
from collections.abc import Callable
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
from workers.executors.lasting import Lasting, LostRunError
from workers.folder import WorkingFolder, places
from workers.run import orders
from workers.run.handover import Handover
from workers.run.orders import Orders
from workers.run.outputs import JOURNAL, Results, announced
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
        handover: what it leaves to who goes on with it after this process.
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
        self._claim = claim
        self.handover = Handover(working.path)
        # Of a run that ends with its process nobody could make anything.
        self._notes = self.handover if isinstance(slot.executor, Lasting) else None
        self._log = log.bind(task=claim.attempt.compute_task_key, attempt=claim.attempt.number)

    def run(self, work: "Work") -> str:
        """Do the work and report its results, or the fault; an order to end is obeyed without a report.

        Returns:
            Why it failed; empty where it did not.
        """
        return self._conclude(work, self._do, (Stopped, Released))

    def go_on(self, work: "Work") -> str:
        """Go on with the work where a process that has gone has left it, as `run` would have.

        Returns:
            Why it failed; empty where it did not.

        Raises:
            LostRunError: there is nothing to go on with.
        """
        return self._conclude(work, self._do_the_rest, (Stopped, Released, LostRunError))

    def _do(self, work: "Work") -> None:
        (self.folder / LOG).touch(mode=0o600)
        self._end_earlier_runs()
        work.produce(self)
        self.orders.obey()
        self._report.complete(self.results, self.stopwatch, self.orders)

    def _do_the_rest(self, work: "Work") -> None:
        self.results.stored += announced(self.folder / JOURNAL)
        if (told := self.handover.told(self.attempt.token)) is not None:
            self._end_run()
            self._report.repeat(told, self.orders)
            return
        # Nobody knows them, and they are made again.
        self.results.discard(self.store)
        self.results.stored.clear()
        self.stopwatch.steps[:] = [
            pb.ProfilingStep(asset_key=self.attempt.compute_task_key, step=step, duration=duration)
            for step, duration in self.handover.begun().steps
        ]
        work.resume(self)
        self.orders.obey()
        self._report.complete(self.results, self.stopwatch, self.orders)

    def _conclude(self, work: "Work", do: Callable[["Work"], None], passed: tuple[type[Exception], ...]) -> str:
        try:
            try:
                do(work)
            except Fault as fault:
                return self._fail(work, fault)
            except passed:
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
        crash.point("worker.before_run")
        if self._notes is not None:
            self.handover.begin(self._claim, self.limits.time, self.stopwatch.steps)

        def run() -> Outcome:
            where = spans.current()
            variables = {} if where is None else {traceparent.VARIABLE: where}
            return watch.run(self.executor, replace(job, variables=variables), self.orders, self._notes)

        self._watched(run, job.limits, what)

    def take_over(self, what: str) -> None:
        """Bring a run to its end that a process has begun which has gone.

        Args:
            what: it is, for people.

        Raises:
            LostRunError: there is nothing to go on with.
            Fault: it has not ended as it should.
            Stopped: the orchestrator wants the attempt to end.
            Released: this worker ends.
        """
        begun = self.handover.begun()
        limits = replace(self.limits, time=begun.seconds)
        job = Job(self.folder, (), limits, lease=self.lease, about=self.about)

        def run() -> Outcome:
            outcome = self.handover.outcome()
            if outcome is not None:
                self._end_run()
                return outcome
            if not isinstance(self.executor, Lasting):
                raise LostRunError(f"the executor {self.settings.executor} goes on with no runs of others")
            self._log.info("task.taken_over", seconds=round(begun.moment.ago, 3))
            return watch.go_on(self.executor, job, self.orders, self.handover, begun.left)

        self._watched(run, limits, what, since=begun.moment.ago)

    def _end_run(self) -> None:
        """See to it that nothing is left of a run that has ended."""
        if not self.executor.end(self.folder, 0.0):
            self._log.error("function.not_ended", folder=self.folder.name)

    def _watched(self, run: Callable[[], Outcome], limits: Limits, what: str, since: float = 0.0) -> None:
        key, number = self.attempt.compute_task_key, self.attempt.number
        about = {"task": key, "attempt": number}
        said = Copying(self.store, task_logs.name(key, number), self.folder / LOG, about, again=number > 1)
        with self.stopwatch.step("execution", since), bound_contextvars(**about), said:
            outcome = run()
        crash.point("worker.ran")
        self.orders.obey()
        _judge(outcome, limits, what)

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

    def resume(self, claimed: Claimed) -> None:
        """Go on with it where a process that has gone has left it (see `Claimed.take_over`).

        Raises:
            LostRunError: there is nothing to go on with.
            Fault: it has failed.
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
