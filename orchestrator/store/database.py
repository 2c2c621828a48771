"""The connection to Postgres, and the transaction that every call is."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Generic, TypeVar

import psycopg
import structlog
from sqlalchemy import Engine, TextClause, text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from orchestrator.core.errors import HeldUpError, UnavailableError
from orchestrator.core.rules import Rules
from orchestrator.store import connecting, faults
from orchestrator.store.clock import Clock, ticks
from orchestrator.store.connection import Connection, Rows, transaction_on
from orchestrator.store.faults import Verdict

log = structlog.get_logger()

Call = TypeVar("Call", bound="Transaction")
Result = TypeVar("Result")

DEFAULT_RULES = Rules()

_PAUSE = 0.01

_TIME = text("SELECT clock_timestamp()")


def _nothing() -> None:
    pass


class Transaction:
    """One call of one organization in one channel: all that it changes commits together.

    Args:
        connection: inside a transaction.
        organization: who calls.
        channel: whose assets are meant.
        rules: of leases.
        clock: the database's time.

    Attributes:
        now: the time, see `locked`.
        certificate_ends: when the certificate ends that proves who calls; None where nothing does.
        before_commit: called once, before what it changes is committed.
        notifies: whether its commit wakes, in all server processes, those that wait for what it makes known.
    """

    notifies = True

    certificate_ends: datetime | None = None

    before_commit: Callable[[], None] = staticmethod(_nothing)

    def __init__(
        self,
        connection: Connection,
        organization: str,
        channel: str,
        rules: Rules = DEFAULT_RULES,
        clock: Clock | None = None,
    ) -> None:
        self.rules = rules
        self._clock = clock or Clock()
        self.connection = connection
        self.organization = organization
        self.channel = channel
        self.now = self._clock.now()

    @property
    def written(self) -> frozenset[str]:
        """What waits for its commit; empty where it makes nothing known."""
        return frozenset()

    def locked(self) -> None:
        """Take the time again after a lock, unless something bears it already: who waited comes later."""
        if not self.written:
            self.now = self._clock.now()

    def alone(self, query: TextClause, parameters: Mapping[str, Any]) -> Rows:
        """Run a statement that is all that it changes; where nothing came before, it commits by itself (autocommit).

        What is read afterwards, if it has returned something, is of later moments, and is not to be written to.
        """
        self._end()
        return self.connection.alone(query, parameters)

    def end(self) -> None:
        """Write what it makes known; then nothing is left but the commit."""
        self.flush()
        self._end()

    def _end(self) -> None:
        before_commit, self.before_commit = self.before_commit, _nothing
        before_commit()

    def flush(self) -> None:
        """Write what it makes known."""


class Database(ABC, Generic[Call]):
    """A pool of connections.

    Args:
        url: `postgresql://…`; see `connecting`.
        pool_size: most connections held at once.
        retry_budget: seconds in which a transaction that met a deadlock or a serialization failure is tried again,
            counted from the first: Postgres takes a second to notice a deadlock. It is tried again once at least.
        rules: of leases.
        written: called, in the thread of the call, with what waits for a transaction that was committed. Postgres lets
            one transaction with a NOTIFY commit at a time, so a process that can wake whom it must wakes them itself;
            without it the transaction notifies.
        patience: seconds for which what others have locked is waited for; None for as long as it takes.
    """

    def __init__(
        self,
        url: str,
        pool_size: int = 16,
        retry_budget: float = 0.5,
        rules: Rules = DEFAULT_RULES,
        written: Callable[[frozenset[str]], None] | None = None,
        patience: float | None = None,
    ) -> None:
        self.rules = rules
        self._written = written
        self.url = url
        self._retry_budget = retry_budget
        self._patience = patience
        self.clock = Clock()
        self.engine: Engine = connecting.make_engine(
            url, self.clock, patience, pool_size=pool_size, max_overflow=0, pool_timeout=30
        )

    @abstractmethod
    def transaction(self, connection: Connection, organization: str, channel: str) -> Call:
        """Return the transaction of a call, on a connection that is inside one."""

    def run(self, organization: str, channel: str, use_case: Callable[[Call], Result]) -> Result:
        """Run a use case in a transaction of its own.

        Raises:
            HeldUpError: others have locked what it needs, for longer than there is patience.
            UnavailableError: the database is at fault, as `faults` says, or does not answer.
            OrchestratorError: what the use case raises; nothing is kept, but for what was `alone`.
        """
        deadline = None
        while True:
            try:
                with self.begin() as connection:
                    transaction = self.transaction(connection, organization, channel)
                    transaction.notifies = self._written is None
                    result = use_case(transaction)
                    transaction.end()
                if self._written is not None and (waiting := transaction.written):
                    self._written(waiting)
                return result
            except psycopg.Error as error:
                if faults.verdict(error) is not Verdict.REPEAT:
                    raise
                if deadline is not None and time.monotonic() > deadline:
                    raise UnavailableError("other calls change the same assets; try again later") from error
                deadline = deadline or time.monotonic() + self._retry_budget
                log.info("transaction.retried", reason=type(error).__name__)
                time.sleep(_PAUSE)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Begin a transaction that the end of the block commits.

        Raises:
            HeldUpError: see `run`.
            UnavailableError: the database is at fault, and may not be for long.
            ConflictError: there is one already.
            BadRequestError: a value cannot be kept.
            psycopg.Error: two transactions met, or the fault lasts.
        """
        try:
            with transaction_on(self.engine) as connection:
                yield connection
        except PoolTimeoutError as error:
            raise UnavailableError("every database connection is busy; try again later") from error
        except psycopg.Error as error:
            if self._patience is not None and faults.locked(error):
                raise HeldUpError("others change the same assets; try again later") from error
            if faults.verdict(error) is Verdict.PASSES:
                log.warning("database.fault", reason=_first_line(error), sqlstate=faults.state(error))
                raise UnavailableError("the database is not available; try again later") from error
            if refused := faults.refusal(error):
                raise refused from error
            raise

    @contextmanager
    def apart(self) -> Iterator[Connection]:
        """Lend a connection on which each statement is a transaction of its own; raises as `begin` does."""
        with self.begin() as connection:
            connection.apart()
            yield connection

    def measure(self, connection: Connection) -> datetime:
        """Ask for the database's time, lest ours drifts from it; return it.

        Args:
            connection: inside a transaction.
        """
        asked = ticks()
        said: datetime = connection.execute(_TIME).scalar_one()
        self.clock.measured(said, asked, ticks())
        return said

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Read as of one moment, and change nothing."""
        with self.begin() as connection:
            connection.read_only()
            yield connection

    def close(self) -> None:
        """Close the connections that are idle."""
        self.engine.dispose()


def _first_line(error: psycopg.Error) -> str:
    return str(error).partition("\n")[0]
