"""Bearer tokens: whoever shows one acts for its organization, in its channels, until it ends or is revoked.

A token is shown once, when it is created; the database keeps the SHA-256 of its secret. It is looked up at every call,
so that what is revoked is refused at once.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from orchestrator.core.errors import NotFoundError, UnauthenticatedError
from orchestrator.store.connection import Connection, Row

_SHOWN = re.compile(r"orc_([0-9a-f]{16})_([0-9a-f]{64})")
_NO_HASH = bytes(32)


@dataclass(frozen=True)
class Token:
    """What is kept of a token.

    Args:
        id: names it; no secret.
        organization: for which it speaks.
        channels: in which.
        created_at: when it was made.
        ends_at: from when on it is refused.
        revoked_at: when it was revoked; None where it was not.
    """

    id: str
    organization: str
    channels: frozenset[str]
    created_at: datetime
    ends_at: datetime
    revoked_at: datetime | None = None

    def refused(self, at: datetime) -> str:
        """Why it does not count at a time; empty if it does."""
        if self.revoked_at is not None:
            return "was revoked"
        return f"ended at {self.ends_at.isoformat(timespec='seconds')}" if self.ends_at <= at else ""


_CREATE = text("""
    INSERT INTO tokens (id, secret_hash, organization, channels, created_at, ends_at)
    VALUES (:id, :secret_hash, :organization, CAST(:channels AS text[]), :created_at, :ends_at)
""")


def create(
    connection: Connection, organization: str, channels: frozenset[str], now: datetime, ends_at: datetime
) -> tuple[Token, str]:
    """Make a token; return what is kept of it, and the token itself, which nobody can be shown again.

    Args:
        connection: inside a transaction.
        organization: for which it speaks.
        channels: in which.
        now: the time.
        ends_at: from when on it is refused.
    """
    token = Token(secrets.token_hex(8), organization, channels, now, ends_at)
    secret = secrets.token_hex(32)
    connection.execute(
        _CREATE,
        {
            "id": token.id,
            "secret_hash": _hash(secret),
            "organization": organization,
            "channels": sorted(channels),
            "created_at": now,
            "ends_at": ends_at,
        },
    )
    return token, f"orc_{token.id}_{secret}"


_FIND = text("""
    SELECT id, organization, channels, created_at, ends_at, revoked_at, secret_hash FROM tokens WHERE id = :id
""")


def verify(connection: Connection, shown: str, now: datetime) -> Token:
    """Return the token that a caller shows.

    Args:
        connection: inside a transaction.
        shown: the token itself.
        now: the time.

    Raises:
        UnauthenticatedError: there is no such token, or it does not count any more.
    """
    parts = _SHOWN.fullmatch(shown)
    if parts is None:
        raise UnauthenticatedError("the token is not one of this orchestrator's")
    row = connection.execute(_FIND, {"id": parts[1]}).one_or_none()
    # Whether there is a token of this id is not to be told by the time that it takes.
    same = hmac.compare_digest(_hash(parts[2]), row.secret_hash if row else _NO_HASH)
    if row is None or not same:
        raise UnauthenticatedError("the token is not one of this orchestrator's")
    token = _token(row)
    if reason := token.refused(now):
        raise UnauthenticatedError(
            f"the token {token.id} of {token.organization} {reason}; ask the operator for another"
        )
    return token


_LIST = text("""
    SELECT id, organization, channels, created_at, ends_at, revoked_at FROM tokens ORDER BY created_at, id
""")


def get_all(connection: Connection) -> Sequence[Token]:
    """Return all tokens that were ever made, in the order in which they were."""
    return [_token(row) for row in connection.execute(_LIST)]


_REVOKE = text("""
    UPDATE tokens SET revoked_at = coalesce(revoked_at, :now) WHERE id = :id
    RETURNING id, organization, channels, created_at, ends_at, revoked_at
""")


def revoke(connection: Connection, identity: str, now: datetime) -> Token:
    """Refuse a token from the next call on; one that was revoked stays so since then.

    Args:
        connection: inside a transaction.
        identity: the token's id.
        now: the time.

    Raises:
        NotFoundError: there is none of this id.
    """
    row = connection.execute(_REVOKE, {"id": identity, "now": now}).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no token {identity}; `orchestrator token list` names them")
    return _token(row)


def _token(row: Row) -> Token:
    return Token(row.id, row.organization, frozenset(row.channels), row.created_at, row.ends_at, row.revoked_at)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
