"""The run of one attempt at a task: claim, prepare, run, store, report.

An attempt whose claim is refused, or that is told to stop, leaves no trace: the task is another's, or nobody's. The
agent (see `agent`), in a process of its own, renews its lease and tells it to stop.
"""

import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress

import grpc
import structlog
from structlog.contextvars import bound_contextvars

from orchestrator import protos as pb
from orchestrator.client import Client
from orchestrator.core import crash
from workers.assets.fetching import Fetcher
from workers.assets.store import AssetStore, url
from workers.channels import insist, lost
from workers.consent.declines import Asking
from workers.errors import AddressFault, ExecutionFault, Fault, InternalFault, Released, Stopped, TimeLimitFault
from workers.executors import executor
from workers.executors.executor import Ending, Limits, Outcome, Resource
from workers.executors.launch import clock
from workers.executors.sandbox import ARGUMENTS, Sandbox, Shared, find
from workers.folder import WorkingFolder, places
from workers.functions import program
from workers.record import Record
from workers.run import inputs, orders, outputs
from workers.run.orders import Orders
from workers.run.outputs import JOURNAL, Results
from workers.run.stopwatch import Stopwatch
from workers.settings import WorkerSettings

log = structlog.get_logger()

_CLAIM_SECONDS = 60.0
# The agent goes on trying when this was in vain.
_RELEASE_SECONDS = 5.0
_REFUSED = "OE0104"
_POLL_SECONDS = 0.05
# As the orchestrator accepts.
_LONGEST_REASON = 1000


def run(settings: WorkerSettings, asking: Asking, task: str, number: int, claimed: Callable[[], None]) -> None:
    """Claim a task that a poke announced, and run it to its report; or decline it.

    Args:
        settings: the worker's.
        asking: says what is consented to; the first channel that knows the task is used.
        task: its key.
        number: of the attempt, 0 for whichever is due.
        claimed: called as soon as the claim is the worker's: the poke has done its work.
    """
    param = pb.ClaimTaskParam(compute_task_key=task, attempt=number, node=settings.node, claim_id=str(uuid.uuid4()))
    try:
        agreed = asking.agree(task)
        if agreed is None:
            return
        client, asked = agreed
        sent = clock()
        claim = insist(lambda: client.worker.ClaimTask(param), _CLAIM_SECONDS)
    except grpc.RpcError as error:
        # Ordinary: another worker has it, it was cancelled; or nobody answers, and it will be poked again.
        log.info("task.not_claimed", task=task, attempt=number, reason=error.details())
        return
    claimed()
    try:
        if not asking.holds(client, asked, claim):
            return
    except grpc.RpcError as error:
        # Nobody runs it here; its lease ends, and it is decided on anew.
        log.error("task.not_given_back", task=task, attempt=claim.attempt.number, reason=error.details())
        return
    log.info("task.claimed", task=task, attempt=claim.attempt.number, channel=client.channel)
    crash.point("worker.claimed")
    record = Record.of_attempt(claim.attempt, client.channel)
    with ExitStack() as held:
        try:
            folder = held.enter_context(WorkingFolder(settings.node_folder, f"{task}-{claim.attempt.number}", record))
            orders.renew(folder.place, sent + claim.lease.ToTimedelta().total_seconds())
        except OSError as error:
            log.error("task.no_folder", task=task, attempt=claim.attempt.number, error=str(error))
            with suppress(Stopped):
                _report_failure(client, pb.FailTaskParam(attempt=claim.attempt, error_type=pb.ERROR_TYPE_INTERNAL))
            return
        store = AssetStore(settings.store_root)
        consent_policy = asking.consent.policy
        fetcher = Fetcher(settings, store, asking.channels.peers[client], consent_policy.stores)
        network = asked.function_owner in consent_policy.network
        _Attempt(settings, client, claim, folder, store, fetcher, network=network).run()


def _report_failure(client: Client, param: pb.FailTaskParam) -> None:
    """Report a failure, once and for all.

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


class _Attempt:
    """One claimed attempt in its working folder."""

    def __init__(
        self,
        settings: WorkerSettings,
        client: Client,
        claim: pb.ClaimTaskResponse,
        folder: WorkingFolder,
        store: AssetStore,
        fetcher: Fetcher,
        *,
        network: bool = False,
    ) -> None:
        self._settings = settings
        self._network = network
        self._client = client
        self._claim = claim
        self._working = folder
        self._folder = folder.path
        self._orders = Orders(folder.place)
        self._store = store
        self._fetcher = fetcher
        self._log_file = folder.path / "log"
        self._stopwatch = Stopwatch(claim.task.key)
        self._results = Results(folder.path / JOURNAL)
        self._time_limit = settings.task_time_limit
        if claim.HasField("time_limit"):
            self._time_limit = min(self._time_limit, claim.time_limit.ToTimedelta().total_seconds())
        self._log = log.bind(task=claim.task.key, attempt=claim.attempt.number)

    def run(self) -> None:
        """Produce the results and report them, or the fault; an order to end is obeyed without a report."""
        try:
            try:
                self._log_file.touch(mode=0o600)
                self._end_earlier_runs()
                self._produce()
                self._orders.obey()
                self._complete()
            except Fault as fault:
                self._fail(fault)
            except (Stopped, Released):
                raise
            except Exception as error:
                self._log.exception("task.worker_error")
                self._fail(InternalFault(f"the worker ran into an error of its own: {type(error).__name__}: {error}"))
        except Stopped as order:
            self._results.discard(self._store)
            self._working.stopped = True
            self._log.info("task.stopped", reason=str(order))
        except Released as order:
            self._results.discard(self._store)
            self._release(str(order))

    def _end_earlier_runs(self) -> None:
        """End what this node still runs of the task, and wait for it: an attempt whose lease ran out unheard."""
        task = self._claim.task.key
        others = [place for place in places(self._settings.node_folder) if place.folder != self._folder]
        for place in others:
            if place.folder.name.startswith(f"{task}-"):
                orders.give(place, orders.Kind.STOP, f"attempt {self._claim.attempt.number} has the task now")
                while place.lives():
                    self._orders.obey()
                    self._orders.wait(_POLL_SECONDS)

    def _produce(self) -> None:
        claim, settings = self._claim, self._settings
        parts = {name: self._folder / name for name in ("function", "inputs", "outputs", "home")}
        for place in parts.values():
            place.mkdir()
        with self._stopwatch.step("prepare_function"):
            command = program.prepare(claim.function, parts["function"], self._fetcher, settings.archive_size_limit)
        self._orders.obey()
        with self._stopwatch.step("prepare_inputs"):
            given = inputs.prepare(
                claim.input_assets,
                claim.function.inputs,
                parts["inputs"],
                self._fetcher,
                self._store,
                settings.organization,
                settings.output_size_limit,
            )
        self._orders.obey()
        wanted = outputs.places(claim.function.outputs, parts["outputs"])
        box, seen = self._box([*given, *wanted])
        arguments = self._folder / "arguments"
        executor.write_arguments(arguments, claim.task.rank, seen[: len(given)], seen[len(given) :])
        crash.point("worker.before_run")
        with self._stopwatch.step("execution"), bound_contextvars(task=claim.task.key, attempt=claim.attempt.number):
            outcome = executor.run(
                [*command, f"@{arguments if box is None else ARGUMENTS}"],
                parts["function"],
                parts["home"],
                self._log_file,
                self._limits(),
                self._orders,
                self._working.lock,
                box,
            )
        crash.point("worker.ran")
        self._judge(outcome)
        with self._stopwatch.step("save_outputs"):
            outputs.check(wanted, settings.output_size_limit)
            outputs.save(
                claim.task.key,
                wanted,
                claim.function.outputs,
                self._store,
                settings.store_url,
                self._results,
            )
        crash.point("worker.stored")

    def _box(self, resources: list[Resource]) -> tuple[Sandbox | None, list[Resource]]:
        """Return what isolates the function, and where it sees its inputs and outputs."""
        settings = self._settings
        if settings.executor == "subprocess":
            return None, resources
        return Sandbox(
            find(settings.sandbox_program),
            self._folder,
            network=self._network,
            shared=tuple(Shared.parse(path) for path in settings.sandbox_paths),
            shared_memory=settings.sandbox_shared_memory,
        ).place(resources)

    def _limits(self) -> Limits:
        settings = self._settings
        return Limits(
            time=self._time_limit,
            grace=settings.task_kill_grace,
            memory=settings.task_memory_limit,
            file_size=settings.output_size_limit,
            folder_size=settings.task_folder_limit,
            folder_files=settings.task_file_limit,
            processes=settings.task_process_limit,
            log_size=settings.task_log_limit,
            cgroup=settings.cgroup,
        )

    def _judge(self, outcome: Outcome) -> None:
        self._orders.obey()
        if outcome.ending is Ending.TIMED_OUT:
            raise TimeLimitFault(f"the function was ended: it ran longer than {self._time_limit:g} seconds")
        if outcome.ending is Ending.EXCEEDED:
            raise ExecutionFault(outcome.reason)
        if outcome.exit_code > 128:
            raise ExecutionFault(
                f"the function was killed by signal {outcome.exit_code - 128}; when it is 9, memory may have "
                "run out; see the lines above"
            )
        if outcome.exit_code != 0:
            raise ExecutionFault(f"the function exited with code {outcome.exit_code}; see the lines above")

    def _complete(self) -> None:
        param = pb.CompleteTaskParam(
            attempt=self._claim.attempt,
            models=self._results.models,
            performances=self._results.performances,
            profiling_steps=self._stopwatch.steps,
        )
        crash.point("worker.before_report")
        try:
            # As long as it takes: a training may be in it. An order to end it is obeyed, but only after one more time:
            # what was done, and never answered, must not be discarded.
            insist(
                lambda: self._client.worker.CompleteTask(param),
                enough=lambda: orders.given(self._working.place) is not None,
                pause=self._orders.pause,
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
        self._log.info("task.done", models=len(self._results.models))

    def _fail(self, fault: Fault) -> None:
        self._orders.obey()
        param = pb.FailTaskParam(
            attempt=self._claim.attempt,
            error_type=fault.error_type,
            timed_out=isinstance(fault, TimeLimitFault),
            # Of an internal fault the log is not for others, and this one is another's to mend.
            reason=str(fault)[:_LONGEST_REASON] if isinstance(fault, AddressFault) else "",
        )
        try:
            self._results.discard(self._store)
            with self._log_file.open("a", encoding="utf-8") as file:
                file.write(f"\nTask failed: {fault}\n")
            stored = self._store.put(f"logs/{self._claim.task.key}-{self._claim.attempt.number}", self._log_file)
        except OSError as error:
            # Without a log in the store the only report that the contract allows is an internal one.
            self._log.error("task.log_not_stored", error=str(error))
            param.error_type = pb.ERROR_TYPE_INTERNAL
            param.timed_out = False
        else:
            if fault.error_type != pb.ERROR_TYPE_INTERNAL:
                param.logs_address.checksum = stored.checksum
                param.logs_address.storage_address = url(self._settings.store_url, stored.name)
        self._log.warning("task.failed", error_type=pb.ErrorType.Name(param.error_type), reason=str(fault))
        _report_failure(self._client, param)
        self._working.settle()

    def _release(self, reason: str) -> None:
        param = pb.ReleaseTaskParam(attempt=self._claim.attempt, reason=reason)
        try:
            insist(lambda: self._client.worker.ReleaseTask(param), _RELEASE_SECONDS)
        except grpc.RpcError as error:
            self._working.stopped = (error.details() or "").startswith(_REFUSED)
            self._working.unsettled = lost(error)
            self._log.warning("task.not_released", error=error.details())
            return
        self._working.settle()
        self._log.info("task.released", reason=reason)
