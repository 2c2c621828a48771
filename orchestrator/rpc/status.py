"""The gRPC status of each error."""

import grpc

from orchestrator.core import errors

_STATUS = {
    errors.NotFoundError: grpc.StatusCode.NOT_FOUND,
    errors.BadRequestError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ConflictError: grpc.StatusCode.ALREADY_EXISTS,
    errors.InternalError: grpc.StatusCode.INTERNAL,
    errors.UnimplementedError: grpc.StatusCode.UNIMPLEMENTED,
    errors.InvalidAssetError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    errors.IncompatibleStatusError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.MissingOutputError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.IncompatibleKindError: grpc.StatusCode.INVALID_ARGUMENT,
    errors.CannotDisableOutputError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.TerminatedPlanError: grpc.StatusCode.FAILED_PRECONDITION,
    errors.TerminatedTaskError: grpc.StatusCode.FAILED_PRECONDITION,
}


def status_of(error: errors.OrchestratorError) -> grpc.StatusCode:
    """Return the status that an error is answered with."""
    return _STATUS[type(error)]
