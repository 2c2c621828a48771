"""What goes wrong, as the exceptions of the Substra SDK."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import grpc
from substra import exceptions

from orchestrator.client.errors import CallError, StoreError
from orchestrator.client.folders import FolderError

Class = TypeVar("Class", bound=type)

_ALREADY = "OE0006"
_REFUSALS: dict[int | None, Any] = {
    401: exceptions.AuthenticationError,
    403: exceptions.AuthorizationError,
    404: exceptions.NotFound,
}
# The statuses of the contract, as the backends of Substra tell them over HTTP.
_STATUSES: dict[grpc.StatusCode, tuple[Any, int]] = {
    grpc.StatusCode.NOT_FOUND: (exceptions.NotFound, 404),
    grpc.StatusCode.PERMISSION_DENIED: (exceptions.AuthorizationError, 403),
    grpc.StatusCode.UNAUTHENTICATED: (exceptions.AuthenticationError, 401),
    grpc.StatusCode.INVALID_ARGUMENT: (exceptions.InvalidRequest, 400),
    grpc.StatusCode.FAILED_PRECONDITION: (exceptions.InvalidRequest, 400),
    grpc.StatusCode.INTERNAL: (exceptions.InternalServerError, 500),
    grpc.StatusCode.UNAVAILABLE: (exceptions.GatewayUnavailable, 503),
    grpc.StatusCode.DEADLINE_EXCEEDED: (exceptions.Timeout, 504),
}


def of_call(error: CallError) -> Exception:
    """Return the exception of the Substra SDK for a call that was refused, or not answered; its text says why."""
    if error.oe_code == _ALREADY:
        known = exceptions.AlreadyExists(None, 409)
        known.msg = str(error)
        known.args = (known.msg,)
        return known  # type: ignore[no-any-return]
    kind, status = _STATUSES.get(error.status, (exceptions.HTTPError, None))
    return kind(str(error), status)  # type: ignore[no-any-return]


def of_store(error: StoreError) -> Exception:
    """Return the exception of the Substra SDK for an asset store that refuses, or cannot be reached."""
    kind = _REFUSALS.get(error.status, exceptions.RequestException)
    return kind(str(error), error.status)  # type: ignore[no-any-return]


def translated(kind: Class) -> Class:
    """Make the methods of a class raise the exceptions of the Substra SDK."""
    for name, method in list(vars(kind).items()):
        if callable(method) and not name.startswith("_"):
            setattr(kind, name, _translated(method))
    return kind


def _translated(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*args: Any, **named: Any) -> Any:
        try:
            return method(*args, **named)
        except CallError as error:
            raise of_call(error) from error
        except StoreError as error:
            raise of_store(error) from error
        except (FolderError, FileNotFoundError, NotADirectoryError) as error:
            raise exceptions.LoadDataException(str(error)) from error

    return call
