"""Calls that are done together: one transaction, set-based statements, one commit.

Such a transaction waits for nobody: what others hold it leaves, and so it is over soon, whatever is in it, and is part
of no deadlock. What it leaves, whatever is refused, and all of it when something goes wrong, is left as it was, to be
done in a transaction of its own: so there is one account of what a call is answered with.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol, TypeAlias, TypeVar
from uuid import UUID

import structlog

from orchestrator.core.errors import OrchestratorError, UnavailableError
from orchestrator.engine.transaction import NOBODY, Transaction
from orchestrator.store import faults

Request = TypeVar("Request")
Response = TypeVar("Response")

log = structlog.get_logger()

Asked: TypeAlias = Sequence[tuple[Transaction, Request]]
"""Requests, each with the transaction of its call; all on one connection."""

Together: TypeAlias = Callable[[Asked[Request]], Mapping[int, Response]]
"""Does those of many calls of a method that it can, and locks nothing that others hold; returns the answers by their
places. Of what it leaves, nothing is changed; where it raises, nothing is kept of any."""

Run: TypeAlias = Callable[[str, str, Callable[[Transaction], Mapping[int, "Done"]]], Mapping[int, "Done"]]


class Keyed(Protocol):
    """What a call asks for of one task."""

    @property
    def key(self) -> UUID:
        """The task."""


Checked = TypeVar("Checked", bound=Keyed)


def sound(
    asked: Asked[Request], check: Callable[[Transaction, Request], Checked | None]
) -> Mapping[int, tuple[Transaction, Checked]]:
    """Return those that make sense, by their place, of each task the first.

    Args:
        asked: all.
        check: returns what one asks for, None where it is not to be done together; raises OrchestratorError.
    """
    found: dict[int, tuple[Transaction, Checked]] = {}
    seen: set[UUID] = set()
    for number, (transaction, each) in enumerate(asked):
        try:
            checked = check(transaction, each)
        except OrchestratorError:
            continue
        if checked is not None and checked.key not in seen:
            seen.add(checked.key)
            found[number] = transaction, checked
    return found


@dataclass(frozen=True)
class Call:
    """A call that may be done together with others.

    Args:
        organization: who calls.
        channel: whose assets are meant.
        together: does calls of its method.
        request: what is asked for.
        begin: told the transaction of the call, before anything is done in it.
    """

    organization: str
    channel: str
    together: Together[Any, Any]
    request: Any
    begin: Callable[[Transaction], None]


@dataclass(frozen=True)
class Done:
    """A call that was done.

    Args:
        response: its answer.
        waits: see `Transaction.waits`.
    """

    response: Any
    waits: Sequence[float]


def run(transaction: Run, calls: Sequence[Call]) -> Mapping[int, Done]:
    """Do many calls in one transaction, as far as that can be; return what was done by its place.

    Args:
        transaction: runs a use case in a transaction of its own, see `Database.run`.
        calls: what is to be done.

    Raises:
        UnavailableError: the database is at fault; it may not be known whether anything was kept.
    """
    committing = False

    def use(whole: Transaction) -> Mapping[int, Done]:
        nonlocal committing
        committing = False

        def before_commit() -> None:
            nonlocal committing
            committing = True
            for each in kept:
                each.before_commit()

        kept: list[Transaction] = []
        done: dict[int, Done] = {}
        whole.before_commit = before_commit
        whole.connection.begin_in_haste()
        for numbers in _by_method(calls):
            # Those of the next method take their locks later, and so their time.
            whole.settle()
            asked = [(_begun(whole, calls[number]), calls[number].request) for number in numbers]
            for place, response in sorted(calls[numbers[0]].together(asked).items()):
                own, _ = asked[place]
                done[numbers[place]] = Done(response, own.waits)
                kept.append(own)
                whole.take(own)
        return done

    try:
        return transaction(NOBODY, "", use)
    except Exception as error:
        # What is the database's fault is none of theirs, and would hold up each of them once more.
        if committing or (isinstance(error, UnavailableError) and not faults.locked(error.__cause__)):
            raise
        log.info("calls.parted", calls=len(calls), reason=type(error).__name__)
        return {}


def _by_method(calls: Sequence[Call]) -> Iterable[list[int]]:
    """Yield the places of the calls of each method."""
    order = {together: number for number, together in enumerate(dict.fromkeys(call.together for call in calls))}

    def method(number: int) -> int:
        return order[calls[number].together]

    for _, numbers in groupby(sorted(range(len(calls)), key=method), method):
        yield list(numbers)


def _begun(whole: Transaction, call: Call) -> Transaction:
    transaction = whole.beside(call.organization, call.channel)
    call.begin(transaction)
    return transaction
