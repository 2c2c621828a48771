"""Builds of functions that are delayed: what their owner's worker needs is away for now, and it tries again.

A delay changes nothing of the function. It is an event of our own kind, and the moment from which the pause before the
next poke is counted; `sweeps.lost_builds` sends that.
"""

from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute.assets import functions
from orchestrator.compute.ownership import check_owner
from orchestrator.core import fields, states
from orchestrator.core.errors import IncompatibleStatusError
from orchestrator.core.fields import parse_key
from orchestrator.core.kinds import BUILD_DELAY
from orchestrator.core.timestamps import timestamp
from orchestrator.engine.transaction import Transaction
from orchestrator.store.statements import statement
from orchestrator.trace import events

_LONGEST_REASON = 500
_UNBUILT = {pb.FUNCTION_STATUS_WAITING, pb.FUNCTION_STATUS_BUILDING}
_PAUSE = statement("UPDATE functions SET poked_at = :now WHERE key = :key")


def delay(transaction: Transaction, asked: pb.DelayBuildParam) -> pb.DelayBuildResponse:
    """Note that a function of the caller could not be built for now, and why.

    Raises:
        PermissionDeniedError: it is another organization's.
        IncompatibleStatusError: it is built, or has ended.
    """
    key = parse_key(asked.function_key, "function_key")
    fields.check_text(asked.reason, "reason", least=1, most=_LONGEST_REASON)
    function = functions.get(transaction, key, lock=True)
    check_owner(transaction, "function", function)
    if function.status not in _UNBUILT:
        word = states.FUNCTION_WORDS[function.status]
        raise IncompatibleStatusError(f"function {key} is {word}: there is nothing to build")
    before = last(transaction, key)
    number = before.number + 1 if before else 1
    told = pb.BuildDelay(function_key=str(key), number=number, reason=asked.reason, time=timestamp(transaction.now))
    transaction.events.own(pb.EVENT_ASSET_UPDATED, str(key), BUILD_DELAY, told)
    transaction.connection.execute(_PAUSE, {"key": key, "now": transaction.now})
    return pb.DelayBuildResponse(number=number)


def get(transaction: Transaction, wanted: pb.GetBuildParam) -> pb.Build:
    """Tell whether a function is built, and what has delayed that last."""
    key = parse_key(wanted.function_key, "function_key")
    function = functions.get(transaction, key)
    return pb.Build(status=function.status, delay=last(transaction, key))


def last(transaction: Transaction, function: UUID) -> pb.BuildDelay | None:
    """Return the last delay of a function's build; None where there was none."""
    found = events.last_snapshot(transaction.connection, transaction.channel, str(function), BUILD_DELAY)
    return None if found is None else pb.BuildDelay.FromString(found)
