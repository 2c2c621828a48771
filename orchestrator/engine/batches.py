"""Many claims, or many completions, in one call: one statement and one commit for all that go through as they are.

What does not is done by itself, one after another, each in a part of the transaction that is kept or undone alone: a
claim that is repeated, whatever is refused, and work of a kind that has more to do then. So each is answered as a call
of its own would be, and none spoils another.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar
from uuid import UUID

import psycopg

from orchestrator import protos as pb
from orchestrator.core.errors import OrchestratorError, UnavailableError
from orchestrator.engine import claims, completions, reports, starts
from orchestrator.engine.transaction import Transaction

Asked = TypeVar("Asked")
Checked = TypeVar("Checked")
Answer = TypeVar("Answer")


def claim(transaction: Transaction, asked: Sequence[pb.ClaimTaskParam]) -> list[pb.ClaimTaskResponse | Exception]:
    """Claim many tasks; return, in the same order, what each claim is answered with, or what stands in its way."""
    tokens = {number: claims.new_token() for number in range(len(asked))}
    sound = _sound(asked, lambda number, each: claims.checked(each, tokens[number]), lambda each: each.key)
    started = starts.start_many(transaction, list(sound.values())) if sound else {}

    def one(number: int) -> pb.ClaimTaskResponse | Exception:
        task = started.get(sound[number].key) if number in sound else None
        if task is None:
            return _alone(transaction, lambda: claims.claim(transaction, asked[number]))
        try:
            # It only reads: so the claim stays, and can be repeated, as that of a call of its own.
            return claims.answer(transaction, task, task.attempts, tokens[number])
        except _FAULTS:
            raise
        except Exception as error:
            return error

    return [one(number) for number in range(len(asked))]


def complete(
    transaction: Transaction, asked: Sequence[pb.CompleteTaskParam]
) -> list[pb.CompleteTaskResponse | Exception]:
    """Complete many attempts; return, in the same order, what each is answered with, or what stands in its way."""
    sound = _sound(asked, lambda _, each: reports.completion(transaction, each), lambda each: each.key)
    done: set[UUID] = set()
    if sound:
        try:
            with transaction.part():
                done = completions.complete_many(transaction, list(sound.values()))
        except _FAULTS:
            raise
        except Exception:
            # One of them has results that do not fit: which, and what is said of it, comes out one by one.
            done = set()

    def one(number: int) -> pb.CompleteTaskResponse | Exception:
        if number in sound and sound[number].key in done:
            return pb.CompleteTaskResponse()
        return _alone(transaction, lambda: reports.complete(transaction, asked[number]))

    return [one(number) for number in range(len(asked))]


_FAULTS = (psycopg.Error, UnavailableError)
"""What ends the whole call: it is no fault of one of them."""


def _sound(
    asked: Sequence[Asked], check: Callable[[int, Asked], Checked], key: Callable[[Checked], UUID]
) -> Mapping[int, Checked]:
    """Return those that make sense, by their place, of each task the first."""
    found: dict[int, Checked] = {}
    seen: set[UUID] = set()
    for number, each in enumerate(asked):
        try:
            checked = check(number, each)
        except OrchestratorError:
            continue
        if key(checked) not in seen:
            seen.add(key(checked))
            found[number] = checked
    return found


def _alone(transaction: Transaction, one: Callable[[], Answer]) -> Answer | Exception:
    try:
        with transaction.part():
            return one()
    except _FAULTS:
        raise
    except Exception as error:
        return error
