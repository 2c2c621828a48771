"""The errors of the gRPC contract, each with its `OE` code; the edges turn them into status codes."""

import random


class OrchestratorError(Exception):
    """What a caller did wrong, or what stands in the way.

    Args:
        message: what happened, to what, and what to do; without the code.
    """

    code = "OE0007"

    def __init__(self, message: str) -> None:
        super().__init__(f"{self.code}: {message}")


class InternalError(OrchestratorError):
    """A fault of ours; the log has the details."""


class NotFoundError(OrchestratorError):
    """The asset does not exist in this channel."""

    code = "OE0002"


class BadRequestError(OrchestratorError):
    """The request makes no sense as it stands."""

    code = "OE0003"


class ConflictError(OrchestratorError):
    """The asset exists already."""

    code = "OE0006"


class UnimplementedError(OrchestratorError):
    """The contract has this method, this server does not."""

    code = "OE0010"


class InvalidAssetError(OrchestratorError):
    """The asset breaks a rule of validation."""

    code = "OE0101"


class PermissionDeniedError(OrchestratorError):
    """The caller may not do this."""

    code = "OE0102"


class UnauthenticatedError(OrchestratorError):
    """Nothing says who calls, or what says it does not count; over HTTP alone."""

    code = "OE0202"


class IncompatibleStatusError(OrchestratorError):
    """The state machine does not allow this transition."""

    code = "OE0104"


class MissingOutputError(OrchestratorError):
    """The task has no output of this name."""

    code = "OE0106"


class IncompatibleKindError(OrchestratorError):
    """The output takes another kind of asset."""

    code = "OE0107"


class CannotDisableOutputError(OrchestratorError):
    """The output must stay, because of itself or because a task may need it."""

    code = "OE0108"


class TerminatedPlanError(OrchestratorError):
    """The compute plan was cancelled or has failed."""

    code = "OE0109"


class TerminatedTaskError(OrchestratorError):
    """The task has ended."""

    code = "OE0110"


class UnavailableError(Exception):
    """What is needed cannot be reached now; the same call may succeed later."""


class HeldUpError(UnavailableError):
    """What others have locked was waited for, and not for longer: nothing was done, and the same may be tried again."""


class ClosedError(UnavailableError):
    """The server stops; a caller asks again elsewhere, or later, and a subscriber resumes."""

    def __init__(self) -> None:
        super().__init__("the server stops; connect again, and resume a subscription from its last event")


class BusyError(UnavailableError):
    """Too much is in hand already; nothing was done, and the same call may be sent again after a pause.

    Args:
        message: of what there is too much; without the code.

    Attributes:
        pause: seconds; about one, so that those who were refused together do not come back together.
    """

    code = "OE0201"

    def __init__(self, message: str) -> None:
        self.pause = random.uniform(0.5, 1.5)  # noqa: S311 - nobody gains by guessing it
        super().__init__(f"{self.code}: {message}; try again in {self.pause:.1f} s")


class UnknownKindError(UnimplementedError):
    """Rows name a kind of work that no distribution brings which is installed here."""
