"""The transaction of a call that makes something known: its events and its pokes commit with what it changes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any
from uuid import UUID

import psycopg
import structlog
from sqlalchemy import TextClause, text

from orchestrator.core import crash
from orchestrator.core.errors import ConflictError, UnavailableError, UnknownKindError
from orchestrator.core.rules import Rules
from orchestrator.engine import outbox
from orchestrator.engine.retries import DEFAULT_POLICIES, RetryPolicies
from orchestrator.store import database, faults
from orchestrator.store.clock import Clock
from orchestrator.store.connection import Connection, Row
from orchestrator.trace import events

log = structlog.get_logger()

DEFAULT_RULES = Rules()

EVENTS = "events"
"""Written by a transaction: the sequencer waits for its commit. The relay waits for what a queue's name stands for:
pokes that were written for it, or room for some that wait."""

_WRITE = f"{events.WRITE}, {outbox.WRITE}"
TELL = "pg_notify('orchestrator_written', '')"
"""What wakes, in a statement, those in all server processes that wait for what a transaction makes known."""

_NOTIFY = text(f"SELECT {TELL}")


@dataclass(frozen=True)
class _Last:
    """What a transaction writes last, with its events: how many rows, and who looks at those that were written."""

    change: str
    parameters: Mapping[str, Sequence[Any]]
    rows: int
    checks: Sequence[Callable[[Sequence[Row]], None]]

    def beside(self, other: "_Last") -> "_Last":
        """Return both, in one statement.

        Raises:
            ValueError: their rows are of different sorts.
        """
        if other.change != self.change:
            raise ValueError("a transaction writes rows of one sort last")
        parameters = {name: [*values, *other.parameters[name]] for name, values in self.parameters.items()}
        return _Last(self.change, parameters, self.rows + other.rows, [*self.checks, *other.checks])


@cache
def _flush(poked: bool, notify: bool) -> TextClause:
    return text(f"WITH {_WRITE if poked else events.WRITE} SELECT {TELL if notify else ''}")


@cache
def _flush_after(change: str, poked: bool, notify: bool) -> TextClause:
    written, told = _WRITE if poked else events.WRITE, f", {TELL}" if notify else ""
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
        read: what was read, by its key, for whoever of the same call reads it again and changes nothing by it.
        waits: seconds that each task that it started was To do, where that is known.
    """

    traceparent: str | None = None

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
        self.events = events.Recorder(channel)
        self.pokes = outbox.Recorder()
        self.read: dict[UUID, Any] = {}
        self.waits: list[float] = []
        self._told: frozenset[str] = frozenset()
        self._notified = False
        self._last: _Last | None = None

    def last(
        self, change: str, parameters: Mapping[str, Sequence[Any]], rows: int, check: Callable[[Sequence[Row]], None]
    ) -> None:
        """Write rows together with the events, in one statement; of one sort in a transaction.

        Args:
            change: the statement, which returns the `key` of each row; nothing that the call reads later depends on it.
            parameters: its own, whose names no other has: a list each, with an element for each row.
            rows: how many are to be written.
            check: is given those that were, where some were not; what it raises, the call raises, and nothing is kept.

        Raises:
            ValueError: rows of another sort are to be written so already.
        """
        last = _Last(change, parameters, rows, [check])
        self._last = last if self._last is None else self._last.beside(last)

    def beside(self, organization: str, channel: str) -> "Transaction":
        """Return the transaction of another call that is done together with this one, on the same connection."""
        other = Transaction(self.connection, organization, channel, self.rules, self.retry_policies, self._clock)
        # What one call has read, the others need not read.
        other.read, other.notifies = self.read, self.notifies
        return other

    def locked_with(self, others: Iterable["Transaction"]) -> None:
        """Take the time after a lock, as `locked` does, and give it to calls that are done together with this one.

        What is told in one statement bears one time.
        """
        self.locked()
        for other in others:
            if not other.written:
                other.now = self.now

    def take(self, other: "Transaction") -> None:
        """Write, in the statement that writes its own, what another call on the same connection makes known."""
        self.events.take(other.events)
        self.pokes.take(other.pokes, other.traceparent)
        self.tells(*other._told, notified=other._notified)
        self.now = max(self.now, other.now)
        if other._last is not None:
            self._last = other._last if self._last is None else self._last.beside(other._last)

    def settle(self) -> None:
        """Write what it makes known so far; what comes later has a time, and a number, of its own."""
        told = self.written
        self._write(notify=False)
        self.events.written()
        self.pokes, self._last, self._told = outbox.Recorder(), None, told

    @contextmanager
    def part(self) -> Iterator[None]:
        """Do a part of the call, with all that it makes known, that is kept or undone by itself.

        Raises:
            OrchestratorError: what the part raises, or what Postgres has against a value of it; nothing of it is kept.
            psycopg.Error: Postgres, or the way to it, is at fault: nothing of the call is kept.
        """
        told, waits, notified = self._told, list(self.waits), self._notified
        # It takes its time by its own locks.
        self._told, self.now = frozenset(), self._clock.now()
        try:
            with self.connection.savepoint():
                yield
                self._write(notify=False)
                told = told | self.written
        except BaseException as error:
            self.waits, self._notified = waits, notified
            if isinstance(error, psycopg.Error) and (refused := faults.refusal(error)):
                raise refused from error
            raise
        finally:
            self.events.written()
            self.pokes, self._last, self._told = outbox.Recorder(), None, told

    def tells(self, *names: str, notified: bool = False) -> None:
        """Note that a statement has written what `EVENTS`, or the name of a queue, stands for.

        Args:
            names: what it has written.
            notified: whether it has notified too, as it does where the transaction `notifies`.
        """
        self._told = self._told.union(names)
        self._notified |= notified

    @property
    def written(self) -> frozenset[str]:
        """What waits for its commit: `EVENTS` to be placed, and the queues of pokes to be sent."""
        return self._told.union([EVENTS] if self.events else (), (poke.queue for poke in self.pokes.pokes))

    def flush(self) -> None:
        """Write the events and the pokes in one statement."""
        if self._told and self.notifies and not self._notified:
            self.connection.execute(_NOTIFY)
        self._write(self.notifies)

    def _write(self, notify: bool) -> None:
        if self.events or self.pokes or self._last:
            written = {"now": self.now, **self.events.parameters(self.now)}
            poked = bool(self.pokes)
            if poked:
                written |= self.pokes.parameters(self.traceparent)
            if self._last is None:
                self.connection.execute(_flush(poked, notify), written)
            else:
                flush = _flush_after(self._last.change, poked, notify)
                kept = self.connection.execute(flush, {**written, **self._last.parameters}).all()
                if len(kept) < self._last.rows:
                    for check in self._last.checks:
                        check(kept)
                    raise ConflictError("one of them was given twice")


class Database(database.Database[Transaction]):
    """A pool of connections.

    Args:
        url: `postgresql://…`.
        pool_size: most connections held at once.
        retry_budget: see `store.database`.
        rules: of leases.
        written: see `store.database`.
        retry_policies: when a task is tried again.
        patience: see `store.database`.
    """

    def __init__(
        self,
        url: str,
        pool_size: int = 16,
        retry_budget: float = 0.5,
        rules: Rules = DEFAULT_RULES,
        written: Callable[[frozenset[str]], None] | None = None,
        retry_policies: RetryPolicies = DEFAULT_POLICIES,
        patience: float | None = None,
    ) -> None:
        super().__init__(url, pool_size, retry_budget, rules, written, patience)
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
