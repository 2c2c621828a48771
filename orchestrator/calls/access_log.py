"""The access log: a line for each call, by whom and how it ended."""

import time
from types import TracebackType
from typing import Self

import structlog

from orchestrator.calls.gate import Caller
from orchestrator.calls.refusals import Refusal

log = structlog.get_logger()

OK = "OK"
LEFT = "CANCELLED"


class Access:
    """A call, from its beginning to its line in the log.

    Args:
        method: its name.

    Attributes:
        caller: who calls, once it was let in.
        outcome: the name of gRPC's status code.
    """

    def __init__(self, method: str) -> None:
        self._method = method
        self._began = time.perf_counter()
        self._reason: dict[str, str] = {}
        self.caller: Caller | None = None
        self.outcome = LEFT

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.perf_counter() - self._began

    def __enter__(self) -> Self:
        return self

    def answered(self, answer: object) -> None:
        """Note the answer, or the refusal."""
        self.outcome = OK
        if isinstance(answer, Refusal):
            self.outcome, self._reason = answer.outcome, {"reason": str(answer)}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        who = {"organization": self.caller.organization, "channel": self.caller.channel} if self.caller else {}
        event = "call.refused" if self._reason else "call.left" if self.outcome == LEFT else "call.answered"
        told = {**who, **self._reason, "code": self.outcome, "seconds": round(self.seconds, 4)}
        log.info(event, method=self._method, **told)
