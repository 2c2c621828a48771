"""What stands in the way of a call, beyond the errors of the contract."""

from orchestrator.core.errors import BadRequestError, ConflictError, NotFoundError


class NumbersUsedUpError(BadRequestError):
    """No more ids can be given that clients can hold."""

    code = "OE0301"


class NoModuleError(BadRequestError):
    """No module is there that could answer."""

    code = "OE0302"


class NothingToCancelError(NotFoundError):
    """No task has not ended."""


class StateError(ConflictError):
    """The task is in a state in which this cannot be done."""
