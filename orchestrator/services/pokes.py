"""Pokes that were lost: a task that is To do for too long is poked again."""

from datetime import datetime, timedelta

from sqlalchemy import Connection

from orchestrator.store import outbox


def repeat_lost(connection: Connection, now: datetime, limit: int, *, age: timedelta) -> int:
    """Write a new poke for tasks To do whose last one is too old; return how many.

    Args:
        connection: inside a transaction.
        now: the time.
        limit: most tasks.
        age: of the first poke; the age that counts as too old doubles with each poke, up to an hour.
    """
    return outbox.repeat_lost(connection, now, limit, age)
