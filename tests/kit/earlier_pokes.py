"""Pokes and attempts as the release before their tables stood apart wrote them, for tests of the upgrade from it."""

from uuid import UUID

from sqlalchemy import text

from orchestrator.engine.transaction import Database

_WRITE = text("""
    INSERT INTO outbox (message, queue, priority, key, attempt, created_at)
    VALUES ('task.run', :queue, 0, :key, 1, now())
""")
_TAKE = text("""
    SELECT id, key FROM outbox WHERE sent_at IS NULL AND queue = :queue
    ORDER BY priority DESC, id LIMIT :limit FOR UPDATE SKIP LOCKED
""")
_MARK = text("UPDATE outbox SET sent_at = clock_timestamp() WHERE id = ANY(:ids)")
_CLAIM = text("UPDATE outbox SET claimed_at = now() WHERE key = :key AND claimed_at IS NULL")
_AGAIN = text("UPDATE outbox SET sent_at = NULL WHERE key = :key")
_DROP = text("DELETE FROM outbox WHERE key = :key AND sent_at IS NULL")
_BEGIN = text("INSERT INTO attempts (task_key, number, claimed_at) VALUES (:key, 1, now())")


def write(database: Database, queue: str, *keys: UUID) -> None:
    """Write a poke for each task."""
    with database.begin() as connection:
        for key in keys:
            connection.execute(_WRITE, {"queue": queue, "key": key})


def send(database: Database, queue: str, limit: int) -> list[UUID]:
    """Do one step of that release's relay; return the tasks that it poked for."""
    with database.begin() as connection:
        taken = connection.execute(_TAKE, {"queue": queue, "limit": limit}).all()
        connection.execute(_MARK, {"ids": [row.id for row in taken]})
    return [row.key for row in taken]


def claim(database: Database, key: UUID) -> None:
    """Begin the first attempt of a task."""
    with database.begin() as connection:
        connection.execute(_BEGIN, {"key": key})
        connection.execute(_CLAIM, {"key": key})


def repeat(database: Database, key: UUID) -> None:
    """Have the poke of a task sent again."""
    with database.begin() as connection:
        connection.execute(_AGAIN, {"key": key})


def drop(database: Database, key: UUID) -> None:
    """Forget the unsent poke of a task."""
    with database.begin() as connection:
        connection.execute(_DROP, {"key": key})
