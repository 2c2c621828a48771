"""A pooler before Postgres, as PgBouncer: what it may share, and how one notices that it shares more.

A pooler that hands out a session for each transaction breaks what belongs to a session: prepared statements, LISTEN,
and the lock of the migrations. Without the first we can do; for the others a URL is needed that goes past it.
"""

from typing import Any, Literal

import psycopg

from orchestrator.store import connecting

Pooling = Literal["session", "transaction"]
"""For how long a connection has a session for itself."""

_ROUNDS = 3


class PoolingError(Exception):
    """The pooler is not what the settings say; the message is one line that says what to set."""


def check(url: str, pooling: Pooling, direct_url: str) -> None:
    """Check that connections share no more than the settings say; a pooler that hides it well is believed.

    Args:
        url: of the database.
        pooling: what the settings say of it.
        direct_url: where sessions are needed.

    Raises:
        PoolingError: they do.
        psycopg.OperationalError: the database cannot be reached.
    """
    if pooling == "session" and _shares(url, "ORCHESTRATOR_DATABASE_URL"):
        raise PoolingError(
            "ORCHESTRATOR_DATABASE_URL goes through a pooler that hands out sessions by transaction: set "
            "ORCHESTRATOR_DATABASE_POOLING=transaction, and ORCHESTRATOR_DATABASE_DIRECT_URL to a URL past it"
        )
    if pooling == "transaction" and _shares(direct_url, "ORCHESTRATOR_DATABASE_DIRECT_URL"):
        raise PoolingError(
            "ORCHESTRATOR_DATABASE_DIRECT_URL goes through a pooler that hands out sessions by transaction: expected a "
            "URL past it, of Postgres itself or of a pool by session"
        )


def _shares(url: str, variable: str) -> bool:
    """Say whether two connections were seen to have one session."""
    try:
        with connecting.connect(url, autocommit=True) as one, connecting.connect(url, autocommit=True) as other:
            for _ in range(_ROUNDS):
                first = _session(one)
                # What a pooler got back last it hands out first.
                with other.transaction():
                    if _session(other) == first:
                        return True
    except psycopg.errors.ProtocolViolation as error:
        reason = str(error).partition("\n")[0]
        raise PoolingError(f"{variable} goes through a pooler that does not allow transactions: {reason}") from error
    return False


def _session(connection: "psycopg.Connection[Any]") -> int:
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return int(row[0]) if row else 0
