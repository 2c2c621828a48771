"""Many claims, or many completions, together: one statement and one commit for all that go through as they are.

They come in one call, or as calls of their own that are done in one transaction (`engine.together`). What does not go
through is done by itself: a claim that is repeated, whatever is refused, and work of a kind that has more to do then.
Of one call that is one after another, each in a part of the transaction that is kept or undone alone. So each is
answered as a call of its own would be, and none spoils another.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar
from uuid import UUID

import psycopg

from orchestrator import protos as pb
from orchestrator.core.errors import UnavailableError
from orchestrator.engine import claims, completions, reports, starts
from orchestrator.engine.starts import Claim
from orchestrator.engine.tasks import Task
from orchestrator.engine.together import Asked, sound
from orchestrator.engine.transaction import Transaction

Answer = TypeVar("Answer")
Request = TypeVar("Request")


def claim(transaction: Transaction, asked: Sequence[pb.ClaimTaskParam]) -> list[pb.ClaimTaskResponse | Exception]:
    """Claim many tasks; return, in the same order, what each claim is answered with, or what stands in its way."""
    started = _started([(transaction, each) for each in asked], claims.checked, free=False)

    def one(number: int) -> pb.ClaimTaskResponse | Exception:
        if number not in started:
            return _alone(transaction, lambda: claims.claim(transaction, asked[number]))
        task, token = started[number]
        try:
            # It only reads: so the claim stays, and can be repeated, as that of a call of its own.
            return claims.answer(transaction, task, task.attempts, token)
        except _FAULTS:
            raise
        except Exception as error:
            return error

    return [one(number) for number in range(len(asked))]


def claim_together(asked: Asked[pb.ClaimTaskParam]) -> Mapping[int, pb.ClaimTaskResponse]:
    """Claim what calls claim that nobody else holds; return the answers by their places."""
    return claim_free(asked, claims.checked)


def claim_free(
    asked: Asked[Request], checked: Callable[[Request, str], Claim | None]
) -> Mapping[int, pb.ClaimTaskResponse]:
    """Do the same for calls that ask in other words.

    Args:
        asked: the calls.
        checked: returns what one claims, with the token of the attempt; None where it is not to be done together.
    """
    return {
        number: claims.answer(asked[number][0], task, task.attempts, token)
        for number, (task, token) in _started(asked, checked, free=True).items()
    }


def _started(
    asked: Asked[Request], checked: Callable[[Request, str], Claim | None], *, free: bool
) -> Mapping[int, tuple[Task, str]]:
    """Start those that can be at once; return each with its token, by their places."""
    tokens: dict[UUID, str] = {}

    def check(_: Transaction, each: Request) -> Claim | None:
        token = claims.new_token()
        claim = checked(each, token)
        if claim is not None:
            tokens.setdefault(claim.key, token)
        return claim

    found = sound(asked, check)
    started = starts.start_many(list(found.values()), free=free)
    return {
        number: (started[claim.key], tokens[claim.key]) for number, (_, claim) in found.items() if claim.key in started
    }


def complete(
    transaction: Transaction, asked: Sequence[pb.CompleteTaskParam]
) -> list[pb.CompleteTaskResponse | Exception]:
    """Complete many attempts; return, in the same order, what each is answered with, or what stands in its way.

    Where two of them give one key to their models, the first has it.
    """
    keys = [model.key for each in asked for model in each.models]
    try:
        with transaction.part():
            at_once = asked if len(set(keys)) == len(keys) else ()
            done = _completed([(transaction, each) for each in at_once], free=False)
    except _FAULTS:
        raise
    except Exception:
        # One of them has results that do not fit: which, and what is said of it, comes out one by one.
        done = {}

    def one(number: int) -> pb.CompleteTaskResponse | Exception:
        if number in done:
            return done[number]
        return _alone(transaction, lambda: reports.complete(transaction, asked[number]))

    return [one(number) for number in range(len(asked))]


def complete_together(asked: Asked[pb.CompleteTaskParam]) -> Mapping[int, pb.CompleteTaskResponse]:
    """Complete the attempts of calls of which nobody else holds anything; return the answers by their places.

    Raises:
        OrchestratorError: the results of one do not fit.
    """
    return _completed(asked, free=True)


def _completed(asked: Asked[pb.CompleteTaskParam], *, free: bool) -> Mapping[int, pb.CompleteTaskResponse]:
    """Complete those that can be at once; return their answers, by their places."""
    found = sound(asked, reports.completion)
    done = completions.complete_many(list(found.values()), free=free)
    return {number: pb.CompleteTaskResponse() for number, (_, report) in found.items() if report.key in done}


_FAULTS = (psycopg.Error, UnavailableError)
"""What ends the whole call: it is no fault of one of them."""


def _alone(transaction: Transaction, one: Callable[[], Answer]) -> Answer | Exception:
    try:
        with transaction.part():
            return one()
    except _FAULTS:
        raise
    except Exception as error:
        return error
