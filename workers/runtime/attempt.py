"""The run of one attempt at a step: claim, do, report."""

import secrets
import time
from collections.abc import Callable

import grpc
import structlog

from orchestrator import protos as pb
from orchestrator.client import Client
from orchestrator.client.insistence import insist, lost
from orchestrator.core import crash
from workers.channels import Channels
from workers.runtime.errors import RefusedError, UnreachableError
from workers.runtime.running import Held, Running
from workers.runtime.work import Work

log = structlog.get_logger()

_CLAIM_SECONDS = 60.0
# As the orchestrator accepts.
_LONGEST_REASON = 1000


class Attempts:
    """Runs attempts, several at once.

    Args:
        channels: the connections to the orchestrator.
        node: the name of the runtime.
        running: what it does.
        work: does steps.
    """

    def __init__(self, channels: Channels, node: str, running: Running, work: Work) -> None:
        self._channels = channels
        self._node = node
        self._running = running
        self._work = work

    def run(self, task: str, number: int) -> str | None:
        """Claim a step that a poke announced, and do it to its report; return why it failed, None where it has not.

        Args:
            task: its key.
            number: of the attempt.
        """
        param = pb.ClaimTaskParam(
            compute_task_key=task, attempt=number, node=self._node, claim_id=secrets.token_urlsafe()
        )
        until = time.monotonic() + _CLAIM_SECONDS

        def claim_of(client: Client) -> pb.ClaimTaskResponse:
            return insist(
                lambda: client.worker.ClaimTask(param),
                enough=lambda: self._running.leaving.is_set() or time.monotonic() > until,
                pause=self._running.wait,
            )

        try:
            client, claim = self._channels.find(claim_of)
        except grpc.RpcError as error:
            # Ordinary: another runtime has it, it was cancelled; or nobody answers, and it will be poked again.
            log.info("step.not_claimed", task=task, attempt=number, reason=error.details())
            return None
        crash.point("runtime.claimed")
        with self._running.holding(client.channel, claim.attempt) as held:
            log.info("step.claimed", task=task, attempt=claim.attempt.number, work=claim.work.TypeName())
            return self._do(client, claim, held)

    def _do(self, client: Client, claim: pb.ClaimTaskResponse, held: Held) -> str | None:
        attempt = claim.attempt
        if self._running.leaving.is_set():
            param = pb.ReleaseTaskParam(attempt=attempt, reason="its runtime ends")
            self._told(held, lambda: client.worker.ReleaseTask(param))
            return None
        try:
            result = self._work.do(claim.work, attempt.number > 1)
        except RefusedError as error:
            return self._fail(client, held, pb.ERROR_TYPE_EXECUTION, str(error))
        except UnreachableError as error:
            return self._fail(client, held, pb.ERROR_TYPE_INTERNAL, str(error))
        except Exception as error:
            log.exception("step.runtime_error", task=attempt.compute_task_key)
            reason = f"the runtime ran into an error of its own: {type(error).__name__}: {error}"
            return self._fail(client, held, pb.ERROR_TYPE_INTERNAL, reason)
        else:
            report = pb.CompleteTaskParam(attempt=attempt)
            report.results.Pack(result)
            crash.point("runtime.before_report")
            if self._told(held, lambda: client.worker.CompleteTask(report)):
                log.info("step.done", task=attempt.compute_task_key, attempt=attempt.number)
            return None

    def _fail(self, client: Client, held: Held, kind: "pb.ErrorType.ValueType", reason: str) -> str:
        attempt, reason = held.attempt, " ".join(reason.split())[:_LONGEST_REASON]
        log.warning("step.failed", task=attempt.compute_task_key, attempt=attempt.number, reason=reason)
        param = pb.FailTaskParam(attempt=attempt, error_type=kind, reason=reason)
        self._told(held, lambda: client.worker.FailTask(param))
        return pb.ErrorType.Name(kind)

    def _told(self, held: Held, report: Callable[[], object]) -> bool:
        """Report, again and again while nobody answers and the attempt may hold its step; return whether it counted."""
        try:
            insist(
                report,
                enough=lambda: held.stopped.is_set() or self._running.leaving.is_set(),
                pause=self._running.wait,
            )
        except grpc.RpcError as error:
            # What was done is found again: by the next attempt, or by a look.
            log.warning(
                "step.unanswered" if lost(error) else "step.not_held",
                task=held.attempt.compute_task_key,
                attempt=held.attempt.number,
                reason=error.details(),
            )
            return False
        return True
