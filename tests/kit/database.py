"""Databases for tests of what lies below the wire, and writers that say when they write and when they commit."""

import uuid
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import text

from orchestrator import protos as pb
from orchestrator.embedded.postgres import Postgres
from orchestrator.engine.transaction import Database, Transaction
from orchestrator.trace.places import Placed
from tests.kit.waiting import wait_until


@contextmanager
def opened(url: str, pool_size: int = 16, retry_budget: float = 0.5) -> Iterator[Database]:
    """Open a database, and close it afterwards."""
    database = Database(url, pool_size, retry_budget)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def copied(postgres: Postgres, template: str) -> Iterator[Database]:
    """Open a copy of a database, and drop it afterwards.

    Args:
        postgres: where they are.
        template: the name of a database that nobody is connected to.
    """
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        # Copying files takes half the time of writing them to the log, where nobody waits for a disk.
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        connection.execute(create.format(*map(sql.Identifier, (name, template))))
        try:
            with opened(postgres.url(name)) as database:
                yield database
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def forget_events(database: Database) -> None:
    """Begin the order of readers again."""
    with database.engine.begin() as connection:
        connection.execute(text("TRUNCATE events, places, unplaced"))


_BLOCKED = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0
"""


def blocked(database: Database) -> int:
    """Return how many sessions of a database wait for a lock."""
    with database.engine.begin() as connection:
        return int(connection.execute(text(_BLOCKED)).scalar_one())


def await_blocked(observer: psycopg.Connection[Any], amount: int, *others: "Future[Any]") -> None:
    """Wait until so many sessions wait for a lock, or the calls have ended without."""

    def met() -> bool:
        row = observer.execute(_BLOCKED).fetchone()
        return bool(row and row[0] >= amount) or any(other.done() for other in others)

    wait_until(met, message=f"{amount} calls that wait")


def deadlocks(database: Database) -> int:
    """Return how many deadlocks Postgres has ever noticed in a database; its idle sessions are closed for it."""
    database.engine.dispose()
    with psycopg.connect(database.url, autocommit=True) as connection:
        # A session reports what it met when it ends.
        others = """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
        """
        wait_until(lambda: connection.execute(others).fetchone() == (0,), message="the end of all other sessions")
        query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        (count,) = connection.execute(query).fetchone() or (0,)
    return int(count)


def tell(transaction: Transaction, *names: str) -> None:
    """Record an event of a compute plan for each name."""
    for name in names:
        transaction.events.created(name, pb.ComputePlan(key=name))


def names_of(placed: list[Placed]) -> list[str]:
    return [pb.Event.FromString(event.message).asset_key for event in placed]


class Writer:
    """A call whose transaction writes its events, and commits, when the test says so."""

    def __init__(self, database: Database, channel: str = "ours") -> None:
        self.names: list[str] = []
        self._connection = database.engine.connect()
        self._begun = self._connection.begin()
        self._transaction = Transaction(self._connection, "org-1", channel)

    def write(self, *names: str) -> None:
        """Draw the place in the order of writing."""
        self.names = list(names)
        tell(self._transaction, *names)
        self._transaction.flush()

    def event_ids(self) -> list[uuid.UUID]:
        return list(self._connection.execute(text("SELECT id FROM events ORDER BY id")).scalars())

    def commit(self) -> None:
        self._begun.commit()
        self._connection.close()

    def roll_back(self) -> None:
        self._begun.rollback()
        self._connection.close()
