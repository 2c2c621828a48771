"""Why an attempt or a build failed, in words for people; the class says whose fault it was."""

from orchestrator import protos as pb


class Fault(Exception):  # noqa: N818 - the contract's word is error type, ours is fault
    """Ends an attempt or a build; the message is the last line of its log.

    Args:
        message: what happened, to what, and what to do.
    """

    error_type: "pb.ErrorType.ValueType" = pb.ERROR_TYPE_INTERNAL


class ExecutionFault(Fault):
    """The function's fault while it ran, or what it wrote."""

    error_type: "pb.ErrorType.ValueType" = pb.ERROR_TYPE_EXECUTION


class TimeLimitFault(ExecutionFault):
    """The function ran longer than it may."""


class BuildFault(Fault):
    """The function's archive cannot be made to run."""

    error_type: "pb.ErrorType.ValueType" = pb.ERROR_TYPE_BUILD


class InternalFault(Fault):
    """Ours: the network, a peer's store, the disk."""


class AwayFault(InternalFault):
    """What is needed is away for now, as a package index is; the same may work later."""


class ChecksumFault(InternalFault):
    """What was fetched is not what the orchestrator registered."""


class AddressFault(InternalFault):
    """An asset is registered at an address from which nothing is fetched.

    Who registered it must know why, and all that the message tells is known in the channel: it is reported.
    """


class RefusedFault(AddressFault):
    """An asset store does not give an asset to this organization: its permissions do not name it, as all may know."""


class Stopped(Exception):  # noqa: N818 - an order, no error
    """The orchestrator wants this attempt to end; nothing is reported.

    Args:
        reason: the orchestrator's words.
    """


class Released(Exception):  # noqa: N818 - an order, no error
    """This worker ends before the attempt does; its task is given back.

    Args:
        reason: for people.
    """
