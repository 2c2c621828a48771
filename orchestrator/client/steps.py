"""Procedures of several calls, written once for the connection that waits and the one for asyncio.

A procedure is a generator. It yields a call to make, as a function of the client, and is sent the answer, or thrown
the `CallError`; or it yields a pause in seconds.
"""

from collections.abc import Callable, Generator
from typing import Any, TypeAlias, TypeVar

from orchestrator.client.errors import CallError

Result = TypeVar("Result")
Call: TypeAlias = Callable[[Any], Any]
Steps: TypeAlias = Generator[Call | float, Any, Result]

_ATTEMPTS = 4


def settle(call: Call, question: Call, says_yes: Callable[[Any], bool], sent_before: bool = False) -> Steps[None]:
    """Make a call that must happen once; where its answer is lost, ask whether it happened before sending it again.

    Args:
        call: the call.
        question: a read that shows what the call does.
        says_yes: whether the answer to the question means that the call happened.
        sent_before: whether it was sent in an earlier procedure, and its answer lost.

    Raises:
        CallError: the call was refused, or is not answered time after time.
    """
    for left in reversed(range(_ATTEMPTS)):
        try:
            yield call
            return
        except CallError as error:
            # What refuses a repeated call may be its own first sending.
            if not error.lost and not sent_before:
                raise
            failure, sent_before = error, True
        if (yield from _happened(question, says_yes)):
            return
        if not failure.lost or not left:
            raise failure


def _happened(question: Call, says_yes: Callable[[Any], bool]) -> Steps[bool]:
    try:
        return says_yes((yield question))
    except CallError as error:
        if error.oe_code == "OE0002":
            return False
        raise
