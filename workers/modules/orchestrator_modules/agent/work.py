"""The way of one attempt at a stage: claim, inputs, callback, report."""

import secrets
import time
from collections.abc import Callable

import grpc
import structlog

from orchestrator import protos as pb
from orchestrator.client import Client
from orchestrator.client.insistence import Answer, insist, lost
from orchestrator.core import crash
from orchestrator.telemetry import spans
from orchestrator_modules import frames
from orchestrator_modules.agent import wire
from orchestrator_modules.agent.held import Held
from orchestrator_modules.agent.module import Module
from orchestrator_modules.agent.reports import Reports
from orchestrator_modules.enums import Status, TaskStatus
from orchestrator_modules.kinds import KIND_OF

log = structlog.get_logger()

Inputs = tuple[tuple[str, frames.Members], ...]
"""What a callback gets, each with the name of its type."""

_CLAIM_SECONDS = 60.0
_RELEASE_SECONDS = 2.0
_INPUTS_SECONDS = 60.0
# An answer that never comes must not take a slot for ever: the same report again changes nothing.
_REPORT_SECONDS = 60.0
_CODES = {"EXCEPTION": pb.STAGE_ERROR_EXCEPTION, "NODE_ERROR": pb.STAGE_ERROR_NODE_ERROR}


class Work:
    """Runs attempts, several at once.

    Args:
        client: the connection to the orchestrator.
        module: whose callback does them.
        reports: knows what it is called.
    """

    def __init__(self, client: Client, module: Module, reports: Reports) -> None:
        self._client = client
        self._module = module
        self._reports = reports
        self._output = KIND_OF[module.hello.kind].output

    def run(self, task: str, number: int) -> str | None:
        """Claim a stage that a poke announced, and see to it until it is reported; return why it failed, or None.

        Args:
            task: its key.
            number: of the attempt.
        """
        param = pb.ClaimTaskParam(
            compute_task_key=task, attempt=number, node=self._reports.node, claim_id=secrets.token_urlsafe()
        )
        until = time.monotonic() + _CLAIM_SECONDS
        leaving = self._module.leaving
        try:
            claim = insist(
                lambda: self._client.worker.ClaimTask(param, timeout=_CLAIM_SECONDS),
                enough=lambda: leaving.is_set() or time.monotonic() > until,
                pause=leaving.wait,
            )
        except grpc.RpcError as error:
            # Ordinary: another replica has it, it was cancelled; or nobody answers, and it will be poked again.
            log.info("stage.not_claimed", task=task, attempt=number, reason=error.details())
            return None
        crash.point("module.claimed")
        held = Held(self._client.channel, claim.attempt)
        self._module.attempts.add(held)
        try:
            if not self._module.takes:
                held.refused = True
                self.release(held, "its module takes nothing")
                return None
            with spans.span("prepare_inputs"):
                given = self._inputs(held)
            if given is None:
                return None
            with spans.span("callback"):
                self._begin(held, claim, given)
                held.over.wait()
            return self._report(held)
        except Exception as error:
            log.exception("stage.agent_error", job=held.job)
            self.lost(held, f"the agent of its module ran into an error of its own: {type(error).__name__}: {error}")
            return type(error).__qualname__
        finally:
            self._module.attempts.remove(held)
            # Others wait to hear that nothing runs any more.
            self._reports.beat_now()

    def adopt(self, held: Held) -> None:
        """See to an attempt that an earlier agent of this process has claimed."""
        try:
            held.over.wait()
            self._report(held)
        finally:
            self._module.attempts.remove(held)
            # Others wait to hear that nothing runs any more.
            self._reports.beat_now()

    def release(self, held: Held, reason: str) -> None:
        """Give an attempt back, once, or not at all: then its lease runs out."""
        try:
            self._client.worker.ReleaseTask(
                pb.ReleaseTaskParam(attempt=held.attempt, reason=reason), timeout=_RELEASE_SECONDS
            )
        except grpc.RpcError as error:
            log.warning("stage.not_released", job=held.job, reason=error.details())

    def time_out(self, held: Held) -> None:
        """Say that an attempt ran too long, and has not stopped; the orchestrator finds it out, too."""
        parts = wire.parts(held.attempt, b"", _timeout(held))
        try:
            self._client.modules.FailStage(parts, timeout=_RELEASE_SECONDS)
        except grpc.RpcError as error:
            log.warning("stage.timeout_not_told", job=held.job, reason=error.details())

    def lost(self, held: Held, reason: str) -> None:
        """Say that the process is gone that did it."""
        param = pb.FailTaskParam(attempt=held.attempt, error_type=pb.ERROR_TYPE_INTERNAL, lost=True, reason=reason)
        try:
            self._client.worker.FailTask(param, timeout=_RELEASE_SECONDS)
        except grpc.RpcError as error:
            log.warning("stage.loss_not_told", job=held.job, reason=error.details())

    def _inputs(self, held: Held) -> Inputs | None:
        """Fetch what the callback gets; None where the orchestrator gives it no more."""
        try:
            inputs = pb.StageInputs.FromString(
                self._insist(
                    held,
                    lambda: b"".join(
                        part.data for part in self._client.modules.GetStageInputs(held.attempt, timeout=_INPUTS_SECONDS)
                    ),
                )
            )
        except grpc.RpcError as error:
            log.warning("stage.no_inputs", job=held.job, reason=error.details())
            held.refused = True
            return None
        return tuple(wire.parsed(each) for each in inputs.inputs)

    def _begin(self, held: Held, claim: pb.ClaimTaskResponse, given: Inputs) -> None:
        stage = pb.StageWork()
        claim.work.Unpack(stage)
        status = {
            "node_status": Status.NODE_RUNNING,
            "task_status": TaskStatus.TASK_RUNNING,
            "error_code": 0,
            "error_description": "",
            "node_name": self._module.hello.name,
            "task_id": (stage.task_id.problem_id, stage.task_id.iteration_id),
        }
        log.info("stage.begins", job=held.job, task=status["task_id"])
        crash.point("module.before_callback")
        if stage.HasField("hard_limit"):
            held.limit = stage.hard_limit.ToTimedelta().total_seconds()
        held.began = time.monotonic()
        self._module.script.tell(frames.Task(held.job, held.frame, given, status))

    def _report(self, held: Held) -> str | None:
        """Tell what came of an attempt; return why it failed, or None."""
        outcome = held.outcome
        if held.refused or (outcome is None and not held.timed_out):
            return None
        crash.point("module.before_report")
        try:
            if outcome is None or held.timed_out:
                failure = _timeout(held)
                return self._fail(held, failure.code, failure.message)
            output = b"" if outcome.output is None else self._serialized(outcome.output)
            if outcome.error:
                return self._fail(held, _CODES[outcome.error], outcome.message, output)
            if len(output) > self._reports.largest:
                words = (
                    f"the output takes {len(output)} bytes, most of them {wire.largest(outcome.output or {})}; "
                    f"at most {self._reports.largest} are kept"
                )
                return self._fail(held, pb.STAGE_ERROR_INVALID_OUTPUT, words)
            answer = self._insist(
                held,
                lambda: self._client.modules.CompleteStage(wire.parts(held.attempt, output), timeout=_REPORT_SECONDS),
            )
            if answer.HasField("error"):
                log.warning("stage.output_refused", job=held.job, reason=answer.error.message)
                return pb.StageErrorCode.Name(answer.error.code)
        except grpc.RpcError as error:
            # What holds its stage no more was stopped, perhaps, and has ended before it was told.
            held.told = not lost(error)
            log.warning("stage.not_held" if held.told else "stage.unanswered", job=held.job, reason=error.details())
        return None

    def _fail(self, held: Held, code: "pb.StageErrorCode.ValueType", message: str, output: bytes = b"") -> str:
        # What a callback says may have a secret in it: people read that where it is hidden, at the orchestrator.
        name = pb.StageErrorCode.Name(code)
        log.warning("stage.failed", job=held.job, code=name)
        failure = pb.StageFailure(code=code, message=message)
        # Its output is for those who look for the reason; one that is too large tells them nothing.
        kept = output if len(output) <= self._reports.largest else b""
        self._insist(
            held,
            lambda: self._client.modules.FailStage(wire.parts(held.attempt, kept, failure), timeout=_REPORT_SECONDS),
        )
        return name

    def _serialized(self, output: frames.Members) -> bytes:
        serialized: bytes = wire.message_of(self._output, output).SerializeToString()
        return serialized

    def _insist(self, held: Held, call: Callable[[], Answer]) -> Answer:
        return insist(
            call,
            enough=lambda: held.refused or self._module.leaving.is_set(),
            pause=self._module.leaving.wait,
        )


def _timeout(held: Held) -> pb.StageFailure:
    message = f"it ran longer than its limit of {held.limit or 0:g} s"
    return pb.StageFailure(code=pb.STAGE_ERROR_TIMEOUT, message=message)
