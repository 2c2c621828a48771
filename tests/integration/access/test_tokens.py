"""Bearer tokens in the database."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from orchestrator.access import tokens
from orchestrator.core.errors import NotFoundError, UnauthenticatedError
from orchestrator.engine.transaction import Database

NOW = datetime(2026, 11, 27, tzinfo=UTC)
END = NOW + timedelta(days=1)
CHANNELS = frozenset({"a", "b"})


def test_a_token_says_what_was_said_when_it_was_made(database: Database):
    with database.begin() as connection:
        made, shown = tokens.create(connection, "org-1", CHANNELS, NOW, END)
        assert tokens.verify(connection, shown, NOW) == made == tokens.Token(made.id, "org-1", CHANNELS, NOW, END)
        assert tokens.get_all(connection) == [made]


def test_no_part_of_a_token_can_be_another(database: Database):
    with database.begin() as connection:
        _, shown = tokens.create(connection, "org-1", CHANNELS, NOW, END)
        for place, letter in enumerate(shown):
            other = shown[:place] + ("0" if letter != "0" else "1") + shown[place + 1 :]
            with pytest.raises(UnauthenticatedError):
                tokens.verify(connection, other, NOW)
        for other in ("", shown[:-1], f"{shown}0", f" {shown}", shown.upper(), shown.replace("_", "\0")):
            with pytest.raises(UnauthenticatedError):
                tokens.verify(connection, other, NOW)
        assert tokens.verify(connection, shown, NOW)


def test_a_token_counts_until_it_ends_or_is_revoked(database: Database):
    with database.begin() as connection:
        made, shown = tokens.create(connection, "org-1", CHANNELS, NOW, END)
        tokens.verify(connection, shown, END - timedelta(microseconds=1))
        with pytest.raises(UnauthenticatedError, match="ended at 2026-11-28"):
            tokens.verify(connection, shown, END)
        revoked = tokens.revoke(connection, made.id, NOW)
        with pytest.raises(UnauthenticatedError, match="was revoked"):
            tokens.verify(connection, shown, NOW)
        assert tokens.revoke(connection, made.id, END) == revoked, "it was revoked before"
        with pytest.raises(NotFoundError, match="there is no token none"):
            tokens.revoke(connection, "none", NOW)


def test_the_secret_is_kept_as_a_hash_alone(database: Database):
    with database.begin() as connection:
        _, shown = tokens.create(connection, "org-1", CHANNELS, NOW, END)
        kept = connection.execute(text("SELECT CAST(tokens AS text) FROM tokens")).scalar_one()
    secret = shown.rpartition("_")[2]
    assert secret not in kept
    assert secret.encode().hex() not in kept
