"""Procedures of several calls, written once for the connection that waits and the one for asyncio.

A procedure is a generator. It yields a call to make, as a function of the client, and is sent the answer, or thrown
the `CallError`; or it yields a pause in seconds, or work.
"""

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from orchestrator.client.errors import CallError

Result = TypeVar("Result")
Call: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True)
class Work:
    """What takes its time without the orchestrator, as reading files and talking to an asset store.

    Args:
        do: does it; asyncio gives it a thread. What it raises ends the procedure.
    """

    do: Callable[[], Any]


Steps: TypeAlias = Generator[Call | float | Work, Any, Result]

BUSY = "OE0201"
"""The code of a call that was refused because the server has too much in hand."""

PLAN_SECONDS = 300.0
"""How long the orchestrator may take for a whole compute plan that it knows."""

_PARTS_SECONDS = 60.0
_TASKS_OF_A_SECOND = 200
_ATTEMPTS = 5
_FIRST_PAUSE = 0.25


def settle(call: Call, question: Call, says_yes: Callable[[Any], bool], sent_before: bool = False) -> Steps[Any]:
    """Make a call that must happen once; where its answer is lost, ask whether it happened before sending it again.

    Args:
        call: the call.
        question: a read that shows what the call does.
        says_yes: whether the answer to the question means that the call happened.
        sent_before: whether it was sent in an earlier procedure, and its answer lost.

    Returns:
        The answer to the call, or to the question where that one is lost.

    Raises:
        CallError: the call was refused, or is not answered time after time.
    """
    pause = _FIRST_PAUSE
    for left in reversed(range(_ATTEMPTS)):
        try:
            return (yield call)
        except CallError as error:
            # What refuses a repeated call may be its own first sending.
            if not error.lost and not sent_before:
                raise
            failure = error
            if error.oe_code == BUSY:
                # Nothing was done: there is nothing to ask, of a server that has too much to answer.
                if not left:
                    raise
                yield max(error.pause, about(pause))
                pause *= 2
                continue
            sent_before = True
        try:
            found = yield question
            if says_yes(found):
                return found
        except CallError as error:
            if error.lost:
                failure = error
            elif error.oe_code != "OE0002":
                raise
        if not failure.lost or not left:
            raise failure
        yield max(failure.pause, about(pause))
        pause *= 2
    raise AssertionError("the last attempt returns or raises")


def repeat(call: Call) -> Steps[Any]:
    """Make a call that does the same however often it is made: where its answer is lost it is sent again.

    Raises:
        CallError: the call was refused, or is not answered time after time.
    """
    pause = _FIRST_PAUSE
    for left in reversed(range(_ATTEMPTS)):
        try:
            return (yield call)
        except CallError as error:
            if not error.lost or not left:
                raise
            wanted = error.pause
        yield max(wanted, about(pause))
        pause *= 2
    raise AssertionError("the last attempt returns or raises")


def seconds_for(tasks: int) -> float:
    """Return how long the orchestrator may take for a whole compute plan that is sent to it."""
    return _PARTS_SECONDS + tasks / _TASKS_OF_A_SECOND


def about(pause: float) -> float:
    """Return a pause at random, half as long as asked to one and a half times, in seconds.

    So those who were cut off together come back one by one.
    """
    return pause * random.uniform(0.5, 1.5)  # noqa: S311
