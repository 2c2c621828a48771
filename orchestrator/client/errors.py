"""What goes wrong for a user of the SDK."""

import re
from types import TracebackType
from typing import TYPE_CHECKING, Self

import grpc

from orchestrator import protos as pb

if TYPE_CHECKING:
    from orchestrator.client.progress import Progress

_PAUSE = "grpc-retry-pushback-ms"
_INSIDE = frozenset({"orchestrator", "grpc", "IPython"})
_CODED = re.compile(r"(?P<code>OE\d{4}): *(?P<message>.*)", re.DOTALL)
# With these nobody knows whether the call was done. A gRPC server that stops may answer CANCELLED to what comes in.
_LOST = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
    }
)


class ToldError(Exception):
    """An error whose message says all: a notebook shows it below the lines of whoever called, without those in here."""

    def _render_traceback_(self) -> list[str]:
        # Asked for by IPython alone.
        from IPython import get_ipython

        theirs = _called(self.__traceback__)
        shown: list[str] = get_ipython().InteractiveTB.structured_traceback(type(self), self, theirs, tb_offset=0)
        return shown


def _called(trace: TracebackType | None) -> TracebackType | None:
    """Return what of a traceback is neither of this package, nor of gRPC and IPython."""
    if trace is None:
        return None
    deeper = _called(trace.tb_next)
    package = trace.tb_frame.f_globals.get("__name__", "").partition(".")[0]
    if package in _INSIDE:
        return deeper
    return TracebackType(deeper, trace.tb_frame, trace.tb_lasti, trace.tb_lineno)


class CallError(ToldError, grpc.RpcError):
    """The orchestrator refused a call, or did not answer it.

    It is a `grpc.RpcError` too, with `code()` and `details()`.

    Args:
        status: the gRPC status.
        details: what the server says, with the contract's code in front when it is a refusal.
        pause: seconds that the server asks to wait before the call is sent again.

    Attributes:
        status: the gRPC status.
        oe_code: the contract's code, as in `OE0002`; empty when the call did not get through.
        message: what happened, to what, and what to do; without the code.
        pause: as given; 0.0 when the server asks for none.
    """

    def __init__(self, status: grpc.StatusCode, details: str, pause: float = 0.0) -> None:
        match = _CODED.fullmatch(details)
        self.status = status
        self.oe_code = match["code"] if match else ""
        self.message = match["message"] if match else details
        self.pause = pause
        self._details = details
        super().__init__(details if match else f"{status.name}: {details}")

    @classmethod
    def of(cls, error: grpc.RpcError) -> Self:
        """Return what gRPC raised as an error for people."""
        return error if isinstance(error, cls) else cls(error.code(), error.details() or "", _pause(error))

    @property
    def lost(self) -> bool:
        """Whether nobody knows if the call was done: it was not answered."""
        return self.status in _LOST

    def code(self) -> grpc.StatusCode:
        """Return the gRPC status."""
        return self.status

    def details(self) -> str:
        """Return what the server says, with the contract's code in front."""
        return self._details


def _pause(error: grpc.RpcError) -> float:
    # Not every RpcError is a call with metadata.
    asked = dict(getattr(error, "trailing_metadata", tuple)() or ()).get(_PAUSE, "")
    return int(asked) / 1000 if isinstance(asked, str) and asked.isdecimal() else 0.0


class PlanError(ToldError, ValueError):
    """A compute plan that is being built does not fit the functions that it uses, or is given a wrong key."""


class StoreError(ToldError):
    """An asset store cannot be reached, refuses, or has something else than is registered; one line for people.

    Args:
        message: what happened, to what, and what to do.
        status: of the HTTP answer that refuses; None where there was none.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class BuildError(ToldError):
    """A function was not built; the message says why, with the end of the log where that may be read."""


class PlanEndedError(ToldError):
    """A compute plan ended without being Done; the message says why, and what to do next.

    Args:
        message: for people.
        progress: the plan and its tasks as they ended.

    Attributes:
        progress: as given; its `state` is Failed or Cancelled.
        failed: those of its tasks that failed.
    """

    def __init__(self, message: str, progress: "Progress") -> None:
        super().__init__(message)
        self.progress = progress
        self.failed = [task for task in progress.tasks.values() if task.status == pb.STATUS_FAILED]
