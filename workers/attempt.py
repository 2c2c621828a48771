"""The run of one attempt at a task: claim, prepare, run, store, report.

An attempt whose claim is refused, or that is told to stop, leaves no trace: the task is another's, or nobody's.
"""

import uuid
from collections.abc import Callable
from pathlib import Path

import grpc
import structlog

from orchestrator import protos as pb
from orchestrator.client import Client
from workers import executor, inputs, outputs, program
from workers.channels import Channels, insist, lost
from workers.errors import ExecutionFault, Fault, InternalFault, Stopped
from workers.executor import Ending, Limits, Outcome
from workers.fetching import Fetcher
from workers.folder import working_folder
from workers.heartbeat import Heartbeat
from workers.outputs import Results
from workers.settings import WorkerSettings
from workers.stopwatch import Stopwatch
from workers.store import AssetStore, url

log = structlog.get_logger()

_CLAIM_SECONDS = 60.0


def run(
    settings: WorkerSettings, channels: Channels, task: str, number: int, claimed: Callable[[], None]
) -> None:
    """Claim a task that a poke announced, and run it to its report.

    Args:
        settings: the worker's.
        channels: the organization's connections; the first that knows the task is used.
        task: its key.
        number: of the attempt, 0 for whichever is due.
        claimed: called as soon as the claim is the worker's: the poke has done its work.
    """
    param = pb.ClaimTaskParam(compute_task_key=task, attempt=number, node=settings.node, claim_id=str(uuid.uuid4()))
    try:
        client, claim = channels.find(lambda client: insist(lambda: client.worker.ClaimTask(param), _CLAIM_SECONDS))
    except grpc.RpcError as error:
        # Ordinary: another worker has it, it was cancelled; or nobody answers, and it will be poked again.
        log.info("task.not_claimed", task=task, attempt=number, reason=error.details())
        return
    claimed()
    log.info("task.claimed", task=task, attempt=claim.attempt.number, channel=client.channel)
    name = f"{task}-{claim.attempt.number}"
    with (
        Heartbeat(client, settings.node, claim.attempt, claim.lease) as heartbeat,
        working_folder(settings.node_folder, name) as folder,
    ):
        _Attempt(settings, client, claim, heartbeat, folder).run()


class _Attempt:
    """One claimed attempt in its working folder."""

    def __init__(
        self,
        settings: WorkerSettings,
        client: Client,
        claim: pb.ClaimTaskResponse,
        heartbeat: Heartbeat,
        folder: Path,
    ) -> None:
        self._settings = settings
        self._client = client
        self._claim = claim
        self._heartbeat = heartbeat
        self._folder = folder
        self._store = AssetStore(settings.store_root)
        self._fetcher = Fetcher(settings, self._store)
        self._log_file = folder / "log"
        self._stopwatch = Stopwatch(claim.task.key)
        self._results = Results()
        self._log = log.bind(task=claim.task.key, attempt=claim.attempt.number)

    def run(self) -> None:
        """Produce the results and report them, or the fault; a stop order is obeyed without a word."""
        self._log_file.touch(mode=0o600)
        try:
            self._produce()
            self._stop_if_ordered()
            self._complete()
        except Stopped as order:
            self._results.discard(self._store)
            self._log.info("task.stopped", reason=str(order))
        except Fault as fault:
            self._fail(fault)
        except Exception as error:
            self._log.exception("task.worker_error")
            self._fail(InternalFault(f"the worker ran into an error of its own: {type(error).__name__}: {error}"))

    def _produce(self) -> None:
        claim, settings = self._claim, self._settings
        places = {name: self._folder / name for name in ("function", "inputs", "outputs", "home")}
        for place in places.values():
            place.mkdir()
        with self._stopwatch.step("prepare_function"):
            command = program.prepare(claim.function, places["function"], self._fetcher, settings.archive_size_limit)
        self._stop_if_ordered()
        with self._stopwatch.step("prepare_inputs"):
            given = inputs.prepare(
                claim.input_assets,
                claim.function.inputs,
                places["inputs"],
                self._fetcher,
                self._store,
                settings.output_size_limit,
            )
        self._stop_if_ordered()
        wanted = outputs.places(claim.function.outputs, places["outputs"])
        arguments = self._folder / "arguments"
        executor.write_arguments(arguments, claim.task.rank, given, wanted)
        with self._stopwatch.step("execution"):
            outcome = executor.run(
                [*command, f"@{arguments}"],
                places["function"],
                places["home"],
                self._log_file,
                self._limits(),
                self._heartbeat.stop,
            )
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

    def _limits(self) -> Limits:
        settings = self._settings
        return Limits(
            time=settings.task_time_limit,
            grace=settings.task_kill_grace,
            memory=settings.task_memory_limit,
            file_size=settings.output_size_limit,
        )

    def _judge(self, outcome: Outcome) -> None:
        self._stop_if_ordered()
        if outcome.ending is Ending.TIMED_OUT:
            raise ExecutionFault(
                f"the function was ended: it ran longer than {self._settings.task_time_limit:g} seconds"
            )
        if outcome.exit_code > 128:
            raise ExecutionFault(
                f"the function was killed by signal {outcome.exit_code - 128}; when it is 9, memory may have "
                "run out; see the lines above"
            )
        if outcome.exit_code != 0:
            raise ExecutionFault(f"the function exited with code {outcome.exit_code}; see the lines above")

    def _stop_if_ordered(self) -> None:
        if self._heartbeat.stop.is_set():
            raise Stopped(self._heartbeat.reason)

    def _complete(self) -> None:
        param = pb.CompleteTaskParam(
            attempt=self._claim.attempt,
            models=self._results.models,
            performances=self._results.performances,
            profiling_steps=self._stopwatch.steps,
        )
        try:
            insist(lambda: self._client.worker.CompleteTask(param))
        except grpc.RpcError as error:
            if lost(error):
                # It may be Done: the models must stay. If it is not, the lease ends, and another attempt runs.
                self._log.error("task.completion_unanswered", error=error.details())
                return
            if (error.details() or "").startswith("OE0104"):
                raise Stopped(f"the attempt does not hold the task any more: {error.details()}") from error
            raise InternalFault(f"the orchestrator refused the results: {error.details()}") from error
        self._log.info("task.done", models=len(self._results.models))

    def _fail(self, fault: Fault) -> None:
        if self._heartbeat.stop.is_set():
            self._log.info("task.stopped", reason=self._heartbeat.reason)
            self._results.discard(self._store)
            return
        param = pb.FailTaskParam(attempt=self._claim.attempt, error_type=fault.error_type)
        try:
            self._results.discard(self._store)
            with self._log_file.open("a", encoding="utf-8") as file:
                file.write(f"\nTask failed: {fault}\n")
            stored = self._store.put(f"logs/{self._claim.task.key}-{self._claim.attempt.number}", self._log_file)
        except OSError as error:
            # Without a log in the store the only report that the contract allows is an internal one.
            self._log.error("task.log_not_stored", error=str(error))
            param.error_type = pb.ERROR_TYPE_INTERNAL
        else:
            if fault.error_type != pb.ERROR_TYPE_INTERNAL:
                param.logs_address.checksum = stored.checksum
                param.logs_address.storage_address = url(self._settings.store_url, stored.name)
        self._log.warning("task.failed", error_type=pb.ErrorType.Name(param.error_type), reason=str(fault))
        try:
            insist(lambda: self._client.worker.FailTask(param))
        except grpc.RpcError as error:
            self._log.warning("task.failure_not_reported", error=error.details())
