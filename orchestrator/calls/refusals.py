"""What a call is answered with when it fails: one table of errors, for gRPC, for HTTP and for what is counted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import structlog

from orchestrator.core import errors

log = structlog.get_logger()

Found = TypeVar("Found")

OUTCOMES: Mapping[type[Exception], str] = {
    errors.NotFoundError: "NOT_FOUND",
    errors.BadRequestError: "FAILED_PRECONDITION",
    errors.ConflictError: "ALREADY_EXISTS",
    errors.InternalError: "INTERNAL",
    errors.UnimplementedError: "UNIMPLEMENTED",
    errors.UnknownKindError: "UNIMPLEMENTED",
    errors.InvalidAssetError: "INVALID_ARGUMENT",
    errors.PermissionDeniedError: "PERMISSION_DENIED",
    errors.UnauthenticatedError: "UNAUTHENTICATED",
    errors.IncompatibleStatusError: "FAILED_PRECONDITION",
    errors.MissingOutputError: "INVALID_ARGUMENT",
    errors.IncompatibleKindError: "INVALID_ARGUMENT",
    errors.CannotDisableOutputError: "FAILED_PRECONDITION",
    errors.TerminatedPlanError: "FAILED_PRECONDITION",
    errors.TerminatedTaskError: "FAILED_PRECONDITION",
    errors.UnavailableError: "UNAVAILABLE",
}
"""The name of gRPC's status code for each error; of a kind that is not listed, that of the kind it is derived from."""


@dataclass(frozen=True)
class Refusal:
    """Why a call was not done, as its caller may know it.

    Args:
        kind: of the error.
        code: its `OE` code; empty where it has none.
        message: what happened, without the code.
        pause: seconds after which the same call may be sent again; None where that is not said.
    """

    kind: type[Exception]
    code: str
    message: str
    pause: float | None = None

    @property
    def outcome(self) -> str:
        """The name of gRPC's status code."""
        return self.of(OUTCOMES)

    def of(self, table: Mapping[type[Exception], Found]) -> Found:
        """Return what a table says of the kind of error, or of the nearest kind that it is derived from."""
        return next(table[each] for each in self.kind.__mro__ if each in table)

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.code else self.message


def _of_request() -> str:
    request = structlog.contextvars.get_contextvars().get("request")
    return f" of request {request}" if request else ""


def refusal(name: str, error: Exception) -> Refusal:
    """Return what a call is answered with; a fault of ours goes to the log, and its caller is told no more than that.

    It keeps neither the error nor its frames, and in them the request.

    Args:
        name: of the call.
        error: that ended it.
    """
    if not isinstance(error, errors.OrchestratorError | errors.UnavailableError):
        log.error("call.failed", method=name, exc_info=error)
        error = errors.InternalError(f"a fault of the orchestrator; its log has the details{_of_request()}")
    code = str(getattr(error, "code", ""))
    pause = error.pause if isinstance(error, errors.BusyError) else None
    return Refusal(type(error), code, str(error).removeprefix(f"{code}: "), pause)
