"""A connection inside a transaction: what every statement of ours runs on.

Named statements go to psycopg as they are, which prepares them when they first come; they are what runs in each call.
What is put together per call, a list with its filters, goes through SQLAlchemy, on the same connection. Whoever calls
sees one kind of error: psycopg's.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, TypeAlias, overload
from uuid import uuid4

import psycopg
import sqlalchemy
from psycopg import generators
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.rows import namedtuple_row
from sqlalchemy import CursorResult, Dialect, Engine, Executable, PoolProxiedConnection, TextClause
from sqlalchemy.dialects.postgresql import psycopg as dialects
from sqlalchemy.exc import DBAPIError

from orchestrator.store import arrays, faults

_DIALECT: Dialect = dialects.dialect()  # type: ignore[no-untyped-call]

_SAVEPOINT, _RELEASE = sqlalchemy.text("SAVEPOINT part"), sqlalchemy.text("RELEASE SAVEPOINT part")
_UNDO = sqlalchemy.text("ROLLBACK TO SAVEPOINT part")
_BEGIN_IN_HASTE = b"BEGIN; SET LOCAL lock_timeout = '20ms'"
_BEGIN_IN_ORDER = b"BEGIN; SET LOCAL enable_sort = off; SET LOCAL enable_seqscan = off"

_ARRAY = re.compile(r"CAST\(%\((\w+)\)s AS (\w+)\[\]\)")
_PLACE = re.compile(r"%(?:%|\((\w+)\)s)")

Parameters: TypeAlias = Mapping[str, Any]

Row: TypeAlias = Any
"""A named tuple."""


class Rows:
    """What a named statement has returned.

    Args:
        rows: named tuples.
        rowcount: how many rows it has changed, or selected.
    """

    def __init__(self, rows: Sequence[Any], rowcount: int) -> None:
        self._rows = rows
        self.rowcount = rowcount

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def __bool__(self) -> bool:
        return bool(self._rows)

    def all(self) -> Sequence[Row]:
        """Return all rows."""
        return self._rows

    def one(self) -> Row:
        """Return the only row.

        Raises:
            LookupError: there is none, or more than one.
        """
        if len(self._rows) != 1:
            raise LookupError(f"one row is expected, {len(self._rows)} came")
        return self._rows[0]

    def one_or_none(self) -> Row | None:
        """Return the only row, None without one.

        Raises:
            LookupError: there is more than one.
        """
        return self.one() if self._rows else None

    def scalars(self) -> Iterator[Any]:
        """Yield the first column."""
        return (row[0] for row in self._rows)

    def scalar_one(self) -> Any:
        """Return the first column of the only row; see `one`."""
        return self.one()[0]

    def scalar_one_or_none(self) -> Any:
        """Return the first column of the only row, None without one; see `one_or_none`."""
        return self.one()[0] if self._rows else None


class Connection:
    """A connection inside a transaction, which begins with the first statement.

    Args:
        engine: whose it is.
        pooled: as its pool gave it.
    """

    def __init__(self, engine: Engine, pooled: PoolProxiedConnection) -> None:
        self._engine = engine
        self._pooled = pooled
        driver: Any = pooled.driver_connection
        self.driver: psycopg.Connection[Any] = driver
        self._built: sqlalchemy.Connection | None = None

    @overload
    def execute(  # type: ignore[overload-overlap]
        self, query: TextClause, parameters: Parameters | Sequence[Parameters] | None = None
    ) -> Rows: ...

    @overload
    def execute(
        self, query: Executable, parameters: Parameters | Sequence[Parameters] | None = None
    ) -> CursorResult[Any]: ...

    def execute(
        self, query: Executable, parameters: Parameters | Sequence[Parameters] | None = None
    ) -> Rows | CursorResult[Any]:
        """Run a statement.

        Args:
            query: a named statement, or what SQLAlchemy has built.
            parameters: by name; of several rows for what is to run once for each.

        Raises:
            psycopg.Error: Postgres, or the way to it, is at fault.
        """
        try:
            if isinstance(query, TextClause):
                return self._named(query, parameters)
            if self._built is None:
                self._built = sqlalchemy.Connection(self._engine, self._pooled)
            return self._built.execute(query, parameters)
        except DBAPIError as error:
            if isinstance(error.orig, psycopg.Error):
                self._met(error.orig)
                raise error.orig from error
            raise
        except psycopg.Error as error:
            self._met(error)
            raise

    def apart(self) -> None:
        """Have each statement be a transaction of its own from now on; none has begun."""
        self.driver.autocommit = True

    def alone(self, query: TextClause, parameters: Parameters) -> Rows:
        """Run a named statement; where no transaction has begun, it is one by itself.

        So is each that follows, if it returned something. If it did not, a transaction begins with the next.
        """
        if self.driver.info.transaction_status is not TransactionStatus.IDLE:
            return self.execute(query, parameters)
        self.driver.autocommit = True
        found = self.execute(query, parameters)
        self.driver.autocommit = bool(found)
        return found

    def begin_in_haste(self) -> None:
        """Begin the transaction; whatever of it waits for a lock for more than a moment fails, and it with that."""
        self._begin(_BEGIN_IN_HASTE)

    def begin_in_order(self) -> None:
        """Begin the transaction; of what it looks for by an index, or in the order of one, it reads no more than that.

        For the first few of a queue. A plan is kept, and what it was made for may have been so few rows that to read
        and sort them all was cheaper.
        """
        self._begin(_BEGIN_IN_ORDER)

    def _begin(self, command: bytes) -> None:
        self.driver.autocommit = True
        self.driver.execute(command, prepare=False)

    @contextmanager
    def ahead(self) -> Iterator[Callable[[TextClause, Parameters], Callable[[], Rows]]]:
        """Send named statements, and wait for what they return later: the next is made while Postgres works.

        What is given to the block sends one, and returns what waits for its rows, and for all that were sent. Nothing
        else is sent within the block.

        Raises:
            psycopg.Error: a statement fails that was sent, rather than whatever the block raises.
        """

        def send(query: TextClause, parameters: Parameters) -> Callable[[], Rows]:
            cursor = self._sent(query, parameters)
            # Who waits for an answer sends nothing more, and Postgres would wait for the rest.
            self.driver.wait(generators.send(self.driver.pgconn))

            def answer() -> Rows:
                if cursor.pgresult is None:
                    pipeline.sync()
                return _rows(cursor)

            return answer

        try:
            with self.driver.pipeline() as pipeline:
                try:
                    yield send
                except psycopg.Error:
                    with suppress(psycopg.Error):
                        pipeline.sync()
                    raise
                except BaseException:
                    pipeline.sync()
                    raise
        except psycopg.Error as error:
            self._met(error)
            raise

    def written(self, query: TextClause, parameters: Parameters) -> Parameters:
        """Return the parameters of a named statement with its arrays as Postgres takes them."""
        writer = arrays.Writer()
        return {
            name: parameters[name] if kind is None else writer.written(kind, parameters[name])
            for name, kind in _words(query)[1]
        }

    def _named(self, query: TextClause, parameters: Parameters | Sequence[Parameters] | None) -> Rows:
        return _rows(self._sent(query, parameters))

    def _sent(self, query: TextClause, parameters: Parameters | Sequence[Parameters] | None) -> "psycopg.Cursor[Any]":
        words, names = _words(query)
        cursor = psycopg.RawCursor(self.driver, row_factory=namedtuple_row)
        if isinstance(parameters, Sequence):
            cursor.executemany(words, [[row[name] for name, _ in names] for row in parameters])
        else:
            values = list(self.written(query, parameters or {}).values())
            # Prepared when it first comes: Postgres keeps a plan from the sixth time on, not from the eleventh. As
            # text, bytes would come twice as long, as digits.
            cursor.execute(words, values, prepare=True, binary=True)
        return cursor

    def stream(self, query: TextClause, parameters: Parameters, part: int) -> Iterator[Any]:
        """Yield the rows of a named statement, of which only a part is in memory.

        Args:
            query: the statement.
            parameters: by name.
            part: how many rows are fetched at once.
        """
        words, names = _words(query)
        with psycopg.RawServerCursor(self.driver, f"part_{uuid4().hex}", row_factory=namedtuple_row) as cursor:
            cursor.itersize = part
            cursor.execute(words, [parameters[name] for name, _ in names])
            yield from cursor

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Do a part of the transaction; what it raises undoes the part, and leaves what was before it.

        Raises:
            psycopg.Error: Postgres, or the way to it, is at fault.
        """
        self.execute(_SAVEPOINT)
        try:
            yield
        except BaseException:
            if self.driver.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
                self.execute(_UNDO)
            raise
        self.execute(_RELEASE)

    def read_only(self) -> None:
        """Read as of one moment from the first statement on, and change nothing."""
        self.driver.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

    def _met(self, error: psycopg.Error) -> None:
        if self._pooled.is_valid and (self.driver.closed or faults.drops(error)):
            self._pooled.invalidate(error)

    def commit(self) -> None:
        """End the transaction, and keep what it has changed.

        Raises:
            psycopg.Error: it is not known whether that was kept.
        """
        try:
            self.driver.commit()
        except psycopg.Error as error:
            self._met(error)
            raise

    def rollback(self) -> None:
        """End the transaction, and keep nothing.

        Raises:
            psycopg.Error: the connection is gone, and nothing was kept.
        """
        try:
            if self._pooled.is_valid:
                self.driver.rollback()
        except psycopg.Error as error:
            self._met(error)
            raise


def _rows(cursor: "psycopg.Cursor[Any]") -> Rows:
    # Its `description` would say the same, with an object for each column: a fifth of a statement's time.
    returned = cursor.pgresult is not None and cursor.pgresult.status == ExecStatus.TUPLES_OK
    return Rows(cursor.fetchall() if returned else (), cursor.rowcount)


@cache
def _words(query: TextClause) -> tuple[bytes, Sequence[tuple[str, str | None]]]:
    """Return a named statement in Postgres' words, and its parameters in their order; made once of each.

    The driver would do so too, but keeps no statement of more than 4 kB, and reads it anew each time.

    Returns:
        The statement, and of each parameter the name, and of an array the type of its elements.
    """
    said = str(query.compile(dialect=_DIALECT))
    kinds = dict(_ARRAY.findall(said))
    places: dict[str, int] = {}

    def place(found: re.Match[str]) -> str:
        return f"${places.setdefault(found[1], len(places) + 1)}" if found[1] else "%"

    words = _PLACE.sub(place, said).encode()
    return words, tuple((name, kinds.get(name)) for name in places)


@contextmanager
def transaction_on(engine: Engine) -> Iterator[Connection]:
    """Begin a transaction that the end of the block commits.

    Args:
        engine: whose pool lends a connection.

    Raises:
        sqlalchemy.exc.TimeoutError: all connections are lent.
        psycopg.Error: Postgres, or the way to it, is at fault.
    """
    pooled = engine.pool.connect()
    connection = Connection(engine, pooled)
    try:
        yield connection
        connection.commit()
    except BaseException:
        with suppress(psycopg.Error):
            connection.rollback()
        raise
    finally:
        if pooled.is_valid:
            if connection.driver.autocommit:
                connection.driver.autocommit = False
            pooled.close()
