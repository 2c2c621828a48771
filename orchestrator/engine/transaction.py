"""The transaction of a call that makes something known: its events and its pokes commit with what it changes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import structlog
from sqlalchemy import TextClause, text

from orchestrator.core import crash
from orchestrator.core.errors import UnavailableError, UnknownKindError
from orchestrator.core.rules import Rules
from orchestrator.engine import outbox
from orchestrator.engine.retries import DEFAULT_POLICIES, RetryPolicies
from orchestrator.store import database
from orchestrator.store.clock import Clock
from orchestrator.store.connection import Connection, Row
from orchestrator.trace import events

log = structlog.get_logger()

DEFAULT_RULES = Rules()

EVENTS = "events"
"""Written by a transaction: the sequencer waits for its commit."""

POKES = "pokes"
"""Written by a transaction, or made room for: the relay waits for its commit."""

_WRITE = f"{events.WRITE}, {outbox.WRITE}"
_TELL = "pg_notify('orchestrator_written', '')"
_EVENTS = text(f"WITH {events.WRITE} SELECT")
_NOTIFY = text(f"SELECT {_TELL}")


@dataclass(frozen=True)
class _Last:
    """What a transaction writes last, with its events."""

    change: str
    parameters: Mapping[str, Any]
    check: Callable[[Sequence[Row]], None]


@cache
def _flush(poked: bool, notify: bool) -> TextClause:
    return text(f"WITH {_WRITE if poked else events.WRITE} SELECT {_TELL if notify else ''}")


@cache
def _flush_after(change: str, poked: bool, notify: bool) -> TextClause:
    written, told = _WRITE if poked else events.WRITE, f", {_TELL}" if notify else ""
    return text(f"WITH change AS ({change}), {written} SELECT change.key{told} FROM change")  # noqa: S608 - constants


class Transaction(database.Transaction):
    """One call of one organization in one channel.

    Args:
        connection: inside a transaction.
        organization: who calls.
        channel: whose assets are meant.
        rules: of leases.
        retry_policies: when a task is tried again.
        clock: the database's time.

    Attributes:
        events: to tell.
        pokes: to send.
        traceparent: of the call, where it is traced; the pokes that it writes bear it.
        waited: seconds that the task that it started was To do; None where it started none, or nobody knows.
    """

    traceparent: str | None = None
    waited: float | None = None

    def __init__(
        self,
        connection: Connection,
        organization: str,
        channel: str,
        rules: Rules = DEFAULT_RULES,
        retry_policies: RetryPolicies = DEFAULT_POLICIES,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(connection, organization, channel, rules, clock)
        self.retry_policies = retry_policies
        self.events = events.Recorder()
        self.pokes = outbox.Recorder()
        self._told: set[str] = set()
        self._last: _Last | None = None

    def last(self, change: str, parameters: Mapping[str, Any], check: Callable[[Sequence[Row]], None]) -> None:
        """Write something together with the events, in one statement; one thing in a transaction.

        Args:
            change: the statement, which returns the `key` of each row; nothing that the call reads later depends on it.
            parameters: its own, whose names no other has.
            check: is given the rows; what it raises, the call raises, and nothing is kept.

        Raises:
            ValueError: something else is to be written so already.
        """
        if self._last is not None:
            raise ValueError("a transaction writes one thing last")
        self._last = _Last(change, parameters, check)

    def write_part(self) -> None:
        """Write the events so far, so that a call with very many holds few of them; it has taken all its locks."""
        if self.events.sequence is None:
            self.events.sequence = self.connection.execute(events.DRAW).scalar_one()
        written = {"now": self.now, "channel": self.channel, **self.events.parameters(self.now)}
        self.connection.execute(_EVENTS, written)
        self.events.written()
        self.tells(EVENTS)

    def tells(self, *names: str) -> None:
        """Note that a statement has written what `EVENTS` or `POKES` stands for."""
        self._told.update(names)

    @property
    def written(self) -> frozenset[str]:
        """What waits for its commit: `EVENTS` to be placed, `POKES` to be sent."""
        recorded = {EVENTS: bool(self.events), POKES: bool(self.pokes)}
        return frozenset(self._told).union(name for name, any_of_it in recorded.items() if any_of_it)

    def flush(self, *, notify: bool = True) -> None:
        """Write the events and the pokes in one statement."""
        if self._told and notify:
            self.connection.execute(_NOTIFY)
        if self.events or self.pokes or self._last:
            written = {"now": self.now, "channel": self.channel, **self.events.parameters(self.now)}
            poked = bool(self.pokes)
            if poked:
                written |= {"traceparent": self.traceparent, **self.pokes.parameters()}
            if self._last is None:
                self.connection.execute(_flush(poked, notify), written)
            else:
                flush = _flush_after(self._last.change, poked, notify)
                self._last.check(self.connection.execute(flush, {**written, **self._last.parameters}).all())


class Database(database.Database[Transaction]):
    """A pool of connections.

    Args:
        url: `postgresql://…`.
        pool_size: most connections held at once.
        retry_budget: see `store.database`.
        rules: of leases.
        written: see `store.database`.
        retry_policies: when a task is tried again.
    """

    def __init__(
        self,
        url: str,
        pool_size: int = 16,
        retry_budget: float = 0.5,
        rules: Rules = DEFAULT_RULES,
        written: Callable[[frozenset[str]], None] | None = None,
        retry_policies: RetryPolicies = DEFAULT_POLICIES,
    ) -> None:
        super().__init__(url, pool_size, retry_budget, rules, written)
        self._retry_policies = retry_policies

    def transaction(self, connection: Connection, organization: str, channel: str) -> Transaction:
        """Return the transaction of a call, on a connection that is inside one."""
        return Transaction(connection, organization, channel, self.rules, self._retry_policies, self.clock)


NOBODY = ""
"""The caller of a sweep: no organization."""


def one_by_one(
    database: Database,
    find: Callable[[Connection, Sequence[Any]], Sequence[Row]],
    repair: Callable[[Transaction, Row], bool],
) -> int:
    """Repair what a sweep finds, each in a transaction of its own; return how many were repaired.

    A batch of rows that cannot be repaired, now and whenever they are found, holds up no other row: where some have
    failed, it is looked again without them.

    Args:
        database: where they are.
        find: from a connection, and the keys of those that have failed, to a batch without them; each row has its
            `channel`, and its key comes first; where it has an `organization`, it is repaired in its name.
        repair: from a transaction in that channel, of nobody else, and the row, to whether there was something to do.

    Raises:
        UnavailableError: the database is at fault; the rest was not tried.
        Exception: the first of what else ended a repair, after all were tried.
    """
    repaired = 0
    failed: dict[Any, Exception] = {}
    while True:
        with database.begin() as connection:
            found = find(connection, list(failed))
        before = len(failed)
        for row in found:
            crash.point("sweep.between")
            try:
                caller = getattr(row, "organization", NOBODY)
                repaired += database.run(caller, row.channel, partial(_repaired, repair, row))
            except UnknownKindError as error:
                # It holds up nothing else.
                log.error("sweep.left", reason=str(error))
            except UnavailableError:
                raise
            except Exception as error:
                # A fault of one kind, or of one row, holds up nothing else either; it is not hidden.
                log.error("sweep.failed", key=str(row[0]), reason=str(error))
                failed[row[0]] = error
        if len(failed) == before:
            break
    if failed:
        raise next(iter(failed.values()))
    return repaired


def _repaired(repair: Callable[[Transaction, Row], bool], row: Row, transaction: Transaction) -> bool:
    return repair(transaction, row)
