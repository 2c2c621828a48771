"""Pokes that were lost: who should have claimed a task, or built a function, is poked again."""

from datetime import datetime, timedelta

from sqlalchemy import Connection

from orchestrator.store import outbox


def repeat_lost(connection: Connection, now: datetime, limit: int, *, age: timedelta) -> int:
    """Write a new poke for tasks To do and functions not built whose last one is too old; return how many.

    Args:
        connection: inside a transaction.
        now: the time.
        limit: most tasks, and most functions.
        age: of the first poke; the age that counts as too old doubles with each poke, up to an hour.
    """
    return outbox.repeat_lost(connection, now, limit, age)
