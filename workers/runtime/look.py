"""Looks at all workflows of this installation, now and then: what is over, and what nobody wants."""

import threading

import grpc
import structlog

from orchestrator import protos as pb
from orchestrator.client import Client
from workers.runtime.errors import RefusedError, UnreachableError
from workers.runtime.workflows import Workflows

log = structlog.get_logger()

_FIRST_SECONDS = 1.0


class Looking(threading.Thread):
    """Looks for one channel, until it is ended.

    Args:
        client: the connection in that channel.
        workflows: where they are placed.
        period: the seconds between two looks.
        patience: the seconds that pods may take to report.
    """

    def __init__(self, client: Client, workflows: Workflows, period: float, patience: float) -> None:
        super().__init__(name=f"look-{client.channel}", daemon=True)
        self._client = client
        self._workflows = workflows
        self._period = period
        self._patience = patience
        self._ended = threading.Event()

    def end(self) -> None:
        """Look no more."""
        self._ended.set()

    def run(self) -> None:
        """Look until the end."""
        self._ended.wait(min(_FIRST_SECONDS, self._period))
        while not self._ended.is_set():
            try:
                self.look()
            except grpc.RpcError as error:
                log.warning("look.unanswered", channel=self._client.channel, reason=error.details())
            except (RefusedError, UnreachableError) as error:
                log.warning("look.failed", channel=self._client.channel, reason=str(error))
            except Exception:
                # The next look may do better, and nobody else looks.
                log.exception("look.error", channel=self._client.channel)
            self._ended.wait(self._period)

    def look(self) -> None:
        """Look once.

        Raises:
            RpcError: the orchestrator does not answer.
            RefusedError: Argo refused it.
            UnreachableError: Argo does not answer.
        """
        look = self._client.executions.BeginLook(pb.BeginLookParam())
        found = [each for each in self._workflows.find() if each.label.startswith(look.prefix)]
        answer = self._client.executions.EndLook(
            pb.EndLookParam(
                began_at=look.began_at,
                workflows=[
                    pb.FoundWorkflow(name=each.name, label=each.label, phase=each.phase, message=each.message)
                    for each in found
                ],
                patience_seconds=self._patience,
            )
        )
        for execution in answer.failed:
            log.warning("execution.failed", execution=execution, reason="its workflow is over and said nothing")
        for name in answer.unwanted:
            log.info("workflow.unwanted", workflow=name)
            self._workflows.end(name)
