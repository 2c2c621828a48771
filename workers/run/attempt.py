"""The run of one attempt at a task: claim, prepare, run, store, report.

An attempt whose claim is refused, or that is told to stop, leaves no trace: the task is another's, or nobody's. The
agent (see `agent`), in a process of its own, renews its lease and tells it to stop.
"""

import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import grpc
import structlog
from structlog.contextvars import bound_contextvars

from orchestrator import protos as pb
from orchestrator.core import crash
from workers.assets import task_logs
from workers.assets.fetching import Fetcher
from workers.assets.store import AssetStore
from workers.assets.task_logs import Copying
from workers.channels import insist
from workers.consent.declines import Asking
from workers.consent.policy import ConsentPolicy
from workers.errors import ExecutionFault, Fault, InternalFault, Released, Stopped, TimeLimitFault
from workers.executors import watch
from workers.executors.executor import Ending, Job, Limits, Outcome
from workers.executors.lease import clock
from workers.folder import WorkingFolder, places
from workers.functions import program
from workers.functions.environments import Held
from workers.record import Record
from workers.run import inputs, orders, outputs, report
from workers.run.orders import Orders
from workers.run.outputs import JOURNAL, Results
from workers.run.report import Report
from workers.run.slot import FOLDERS, Slot
from workers.run.stopwatch import Stopwatch
from workers.settings import WorkerSettings

log = structlog.get_logger()

_CLAIM_SECONDS = 60.0
_POLL_SECONDS = 0.05
# Of a key: what commands take for it.
_SHORT = 8


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
    param = pb.ClaimTaskParam(compute_task_key=task, attempt=number, node=settings.node, claim_id=str(uuid.uuid4()))
    try:
        agreed = asking.agree(task)
        if agreed is None:
            return ""
        client, asked = agreed
        sent = clock()
        claim = insist(lambda: client.worker.ClaimTask(param), _CLAIM_SECONDS)
    except grpc.RpcError as error:
        # Ordinary: another worker has it, it was cancelled; or nobody answers, and it will be poked again.
        log.info("task.not_claimed", task=task, attempt=number, reason=error.details())
        return ""
    claimed()
    try:
        if not asking.holds(client, asked, claim):
            return ""
    except grpc.RpcError as error:
        # Nobody runs it here; its lease ends, and it is decided on anew.
        log.error("task.not_given_back", task=task, attempt=claim.attempt.number, reason=error.details())
        return ""
    described(*_words(claim, asking.plan_name(client, claim.task.compute_plan_key)))
    log.info("task.claimed", task=task, attempt=claim.attempt.number, channel=client.channel)
    crash.point("worker.claimed")
    record = Record.of_attempt(claim.attempt, client.channel)
    consent_policy = asking.consent.policy
    network = asked.function_owner in consent_policy.network
    # What is prepared shows a function its own folder alone.
    spare = None if network or _reads_samples(claim) else slot.take()
    name = f"{task}-{claim.attempt.number}"
    with ExitStack() as held:
        try:
            folder = held.enter_context(WorkingFolder(settings.node_folder, name, record, spare))
            orders.renew(folder.place, sent + claim.lease.ToTimedelta().total_seconds())
        except OSError as error:
            log.error("task.no_folder", task=task, attempt=claim.attempt.number, error=str(error))
            if spare is not None:
                slot.executor.end(spare.path, 0.0)
            with suppress(Stopped):
                report.fail(client, pb.FailTaskParam(attempt=claim.attempt, error_type=pb.ERROR_TYPE_INTERNAL))
            return f"no working folder: {error.strerror}"
        store = AssetStore(settings.store_root)
        return _Attempt(
            settings,
            slot,
            claim,
            folder,
            store,
            Fetcher(settings, store, asking.channels.peers[client], slot.downloads, consent_policy.stores),
            Report(client, claim.attempt, folder, store, settings.store_url),
            policy=consent_policy,
            prepared=spare.path if spare is not None else None,
        ).run()


class _Attempt:
    """One claimed attempt in its working folder."""

    def __init__(
        self,
        settings: WorkerSettings,
        slot: Slot,
        claim: pb.ClaimTaskResponse,
        folder: WorkingFolder,
        store: AssetStore,
        fetcher: Fetcher,
        report: Report,
        *,
        policy: ConsentPolicy,
        prepared: Path | None,
    ) -> None:
        self._settings = settings
        self._slot = slot
        self._executor = slot.executor
        self._claim = claim
        self._working = folder
        self._folder = folder.path
        self._store = store
        self._fetcher = fetcher
        self._report = report
        self._policy = policy
        self._prepared = prepared
        self._held: Held | None = None
        self._orders = Orders(folder.place)
        self._log_file = folder.path / "log"
        self._stopwatch = Stopwatch(claim.task.key)
        self._results = Results(folder.path / JOURNAL)
        self._log = log.bind(task=claim.task.key, attempt=claim.attempt.number)

    def run(self) -> str:
        """Produce the results and report them, or the fault; an order to end is obeyed without a report.

        Returns:
            Why it failed; empty where it did not.
        """
        try:
            try:
                self._log_file.touch(mode=0o600)
                self._end_earlier_runs()
                self._produce()
                self._orders.obey()
                self._report.complete(self._results, self._stopwatch, self._orders)
            except Fault as fault:
                return self._fail(fault)
            except (Stopped, Released):
                raise
            except Exception as error:
                self._log.exception("task.worker_error")
                return self._fail(
                    InternalFault(f"the worker ran into an error of its own: {type(error).__name__}: {error}")
                )
        except Stopped as order:
            self._results.discard(self._store)
            self._working.stopped = True
            self._log.info("task.stopped", reason=str(order))
        except Released as order:
            self._results.discard(self._store)
            self._report.release(str(order))
        finally:
            if self._prepared is not None:
                self._executor.end(self._prepared, 0.0)
            if self._held is not None:
                self._held.close()
        return ""

    def _end_earlier_runs(self) -> None:
        """End what this node still runs of the task, and wait for it: an attempt whose lease ran out unheard."""
        task = self._claim.task.key
        others = [place for place in places(self._settings.node_folder) if place.folder != self._folder]
        for place in others:
            if place.folder.name.startswith(f"{task}-"):
                orders.give(place, orders.Kind.STOP, f"attempt {self._claim.attempt.number} has the task now")
                while place.lives() or self._executor.alive(place.folder):
                    self._orders.obey()
                    self._orders.wait(_POLL_SECONDS)

    def _fail(self, fault: Fault) -> str:
        self._orders.obey()
        self._report.fail(fault, self._results, self._log_file)
        kind = pb.ErrorType.Name(fault.error_type).removeprefix("ERROR_TYPE_")
        return f"{kind}: {fault}; read its log with `orchestrator task logs {self._claim.task.key[:_SHORT]}`"

    def _produce(self) -> None:
        claim, settings = self._claim, self._settings
        function, given, wanted, _ = (self._folder / name for name in FOLDERS)
        if self._prepared is None:
            for name in FOLDERS:
                (self._folder / name).mkdir()
        with self._stopwatch.step("prepare_function"):
            prepared = program.prepare(
                claim.function, function, self._fetcher, settings, self._executor, self._policy, self._orders.obey
            )
            self._held = prepared.held
        self._orders.obey()
        with self._stopwatch.step("prepare_inputs"):
            read = inputs.prepare(
                claim.input_assets,
                claim.function.inputs,
                given,
                self._fetcher,
                self._store,
                settings.organization,
                settings.output_size_limit,
            )
        self._orders.obey()
        written = outputs.places(claim.function.outputs, wanted)
        limits = self._limits()
        job = Job(
            folder=self._folder,
            command=prepared.command,
            limits=limits,
            rank=claim.task.rank,
            inputs=read,
            outputs=written,
            network=claim.function.owner in self._policy.network,
            lease=self._working.place.owner,
            prepared=self._prepared,
            environment=prepared.held.environment,
        )
        # From here on it is the executor's.
        self._prepared = None
        crash.point("worker.before_run")
        about = {"task": claim.task.key, "attempt": claim.attempt.number}
        named, again = task_logs.name(claim.task.key, claim.attempt.number), claim.attempt.number > 1
        said = Copying(self._store, named, self._log_file, about, again=again)
        with self._stopwatch.step("execution"), bound_contextvars(**about), said:
            outcome = watch.run(self._executor, job, self._orders)
        crash.point("worker.ran")
        self._orders.obey()
        _judge(outcome, limits)
        with self._stopwatch.step("save_outputs"):
            outputs.check(written, settings.output_size_limit)
            outputs.save(
                claim.task.key,
                written,
                claim.function.outputs,
                self._store,
                settings.store_url,
                self._results,
            )
        crash.point("worker.stored")

    def _limits(self) -> Limits:
        seconds = self._settings.task_time_limit
        if self._claim.HasField("time_limit"):
            seconds = min(seconds, self._claim.time_limit.ToTimedelta().total_seconds())
        return self._slot.limits(seconds)


def _words(claim: pb.ClaimTaskResponse, plan: str) -> tuple[str, str]:
    """Return what people call a task, and its plan: names and beginnings of keys, each as short as a table shows."""
    task, function = claim.task, claim.function
    name = f"{task.key[:_SHORT]} {function.name} ({function.key[:_SHORT]})"
    again = f", attempt {claim.attempt.number}" if claim.attempt.number > 1 else ""
    return f"{name}{again}", f"{task.compute_plan_key[:_SHORT]} {plan}"


def _reads_samples(claim: pb.ClaimTaskResponse) -> bool:
    return any(asset.HasField("data_sample") for asset in claim.input_assets)


def _judge(outcome: Outcome, limits: Limits) -> None:
    """Go on only after an end without a fault.

    Raises:
        TimeLimitFault: it ran too long.
        ExecutionFault: it failed in another way.
    """
    if outcome.ending is Ending.TIMED_OUT:
        raise TimeLimitFault(f"the function was ended: it ran longer than {limits.time:g} seconds")
    if outcome.ending is Ending.EXCEEDED:
        raise ExecutionFault(outcome.reason)
    if outcome.exit_code > 128:
        raise ExecutionFault(
            f"the function was killed by signal {outcome.exit_code - 128}; when it is 9, memory may have "
            "run out; see the lines above"
        )
    if outcome.exit_code != 0:
        raise ExecutionFault(f"the function exited with code {outcome.exit_code}; see the lines above")
