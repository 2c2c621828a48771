"""The one door to Postgres: how every process connects, and how it notices that the other side is gone.

A URL goes to libpq as it is, so every form that libpq knows is right: several hosts, sockets, services. What it says
itself wins over the defaults here.
"""

import os
import select
import socket
import threading
import time
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias
from weakref import WeakSet

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from orchestrator.store.clock import Clock, ticks

DEFAULTS = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 8000,
}
"""Parameters of libpq (Postgres' manual, 34.1.2), in seconds, the last in milliseconds.

A host that does not answer is left after 5 s; one that falls silent is noticed 8 s after it was asked something, and
after 13 s when it was not.
"""

# The same for the other side: a session whose client is gone holds its locks until Postgres knows, two hours by
# default.
# By a statement, since poolers refuse parameters that they do not know.
_NOTICE_US = """
    SELECT set_config('tcp_keepalives_idle', '5', false), set_config('tcp_keepalives_interval', '2', false),
           set_config('tcp_keepalives_count', '3', false), set_config('tcp_user_timeout', '8000', false),
           clock_timestamp()
"""

_PATIENCE = "SELECT set_config('lock_timeout', %s, false)"

_VARIABLES = {"connect_timeout": "PGCONNECT_TIMEOUT"}
# Who was idle this long may be gone without a word: a firewall forgets, a machine stops.
_IDLE_SECONDS = 5.0
_ANSWER_SECONDS = 2.0

Session: TypeAlias = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]
_open: "WeakSet[Session]" = WeakSet()
_ended = threading.Event()
_shared = threading.Event()


def _defaults(url: str) -> dict[str, Any]:
    given = conninfo_to_dict(url)
    return {
        name: value
        for name, value in DEFAULTS.items()
        if name not in given and _VARIABLES.get(name, "") not in os.environ
    }


def share_sessions() -> None:
    """Have all connections of this process, from now on, do without what belongs to a session (see `pooling`)."""
    _shared.set()


def _kept() -> dict[str, Any]:
    """Return what connections do beside: prepare statements that come again, but not in somebody else's session."""
    return {"prepare_threshold": None} if _shared.is_set() else {}


def connect(
    url: str, *, autocommit: bool = False, clock: Clock | None = None, patience: float | None = None
) -> "psycopg.Connection[Any]":
    """Connect to a database.

    Args:
        url: `postgresql://…`.
        autocommit: whether each statement is a transaction of its own.
        clock: told the database's time.
        patience: seconds for which a lock is waited for, as long as the session is ours; None for Postgres' own.

    Raises:
        psycopg.OperationalError: it cannot be reached, or refuses us.
    """
    if _ended.is_set():
        raise psycopg.OperationalError("this process ends, and connects no more")
    connection: psycopg.Connection[Any] = psycopg.connect(url, autocommit=True, **_kept(), **_defaults(url))
    _open.add(connection)
    _check_encoding(connection.info.parameter_status("server_encoding"))
    asked = ticks()
    row = connection.execute(_NOTICE_US).fetchone()
    if clock is not None and row is not None:
        clock.measured(row[-1], asked, ticks())
    if patience is not None and not _shared.is_set():
        connection.execute(_PATIENCE, [f"{patience:g}s"])
    connection.autocommit = autocommit
    return connection


def _check_encoding(encoding: str | None) -> None:
    """Check that the database holds any text; of a pooler that does not say, nothing is known.

    Raises:
        psycopg.OperationalError: it does not.
    """
    if encoding not in (None, "UTF8"):
        raise psycopg.OperationalError(
            f"its encoding is {encoding}, and UTF8 is needed: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )


async def connect_async(url: str) -> "psycopg.AsyncConnection[Any]":
    """Connect to a database from an event loop; each statement is a transaction of its own.

    Args:
        url: `postgresql://…`.

    Raises:
        psycopg.OperationalError: it cannot be reached, or refuses us.
    """
    connection = await psycopg.AsyncConnection.connect(url, autocommit=True, **_kept(), **_defaults(url))
    _open.add(connection)
    await connection.execute(_NOTICE_US)
    return connection


def make_engine(url: str, clock: Clock | None = None, patience: float | None = None, **options: Any) -> Engine:
    """Return a pool of connections.

    One that was idle for some seconds is asked for an answer before it is used, which costs no statement; and where one
    is dropped, for a fault of its server (see `store.connection`), all that are as old are made anew.

    Args:
        url: `postgresql://…`.
        clock: told the database's time by each new connection.
        patience: see `connect`.
        options: of SQLAlchemy's `create_engine`.
    """
    # Each connection plans its statements for itself: the fewer are used, the fewer are planned.
    engine = create_engine(
        "postgresql+psycopg://",
        creator=partial(connect, url, clock=clock, patience=patience),
        isolation_level="READ COMMITTED",
        pool_use_lifo=True,
        **options,
    )
    generation = _Generation()
    event.listen(engine, "connect", generation.made)
    event.listen(engine, "invalidate", generation.dropped)
    event.listen(engine, "checkout", generation.check)
    event.listen(engine, "checkout", _check)
    event.listen(engine, "checkin", _note)
    return engine


class _Generation:
    """The connections of a pool that were made since one of them was dropped: the older ones reach the same server."""

    def __init__(self) -> None:
        self._began = 0.0

    def made(self, _: object, record: ConnectionPoolEntry) -> None:
        record.info["made"] = time.monotonic()

    def dropped(self, _: object, record: ConnectionPoolEntry, __: object) -> None:
        if record.info.get("made", 0.0) >= self._began:
            self._began = time.monotonic()

    def check(self, _: object, record: ConnectionPoolEntry, __: object) -> None:
        if record.info.get("made", 0.0) < self._began:
            raise DisconnectionError("another connection of its time was dropped")


def break_off() -> None:
    """Cut all connections of this process, and make none any more: who waits for an answer gets an error at once."""
    _ended.set()
    for connection in list(_open):
        cut(connection)


def cut(connection: Session) -> None:
    """Cut a connection, from whatever thread: who waits for its answer gets an error at once."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.pgconn.socket)) as end:
        end.shutdown(socket.SHUT_RDWR)


def _note(_: object, record: ConnectionPoolEntry) -> None:
    record.info["idle_since"] = time.monotonic()


def _check(connection: "psycopg.Connection[Any]", record: ConnectionPoolEntry, _: object) -> None:
    since = record.info.get("idle_since")
    if since is not None and time.monotonic() - since > _IDLE_SECONDS and not _answers(connection):
        cut(connection)
        raise DisconnectionError("the database does not answer on a connection that was idle")


def _answers(connection: "psycopg.Connection[Any]") -> bool:
    """Ask with an empty query, and wait for the answer for a short time."""
    deadline = time.monotonic() + _ANSWER_SECONDS
    pg = connection.pgconn
    try:
        pg.send_query(b"")
        pg.flush()
        ready = select.poll()
        ready.register(pg.socket, select.POLLIN)
        while pg.is_busy():
            left = deadline - time.monotonic()
            if left <= 0 or not ready.poll(left * 1000):
                return False
            pg.consume_input()
        while pg.get_result() is not None:
            pass
    except psycopg.Error:
        return False
    return True
