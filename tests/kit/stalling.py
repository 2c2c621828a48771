"""Writes that are held up in the midst of their statement."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

_LOCK = 45


@contextmanager
def stalled(url: str, write: str, when: str) -> Iterator[Callable[[], None]]:
    """Hold up whoever writes such a row, before it is written, until the function given is called.

    Args:
        url: of the database, which is the test's own.
        write: as in `UPDATE ON attempts`.
        when: which rows, in SQL, by NEW and OLD.
    """
    _, _, table = write.rpartition(" ")
    with psycopg.connect(url, autocommit=True) as holder:

        def release() -> None:
            holder.execute("SELECT pg_advisory_unlock_all()")

        holder.execute(f"""
            CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_advisory_xact_lock_shared({_LOCK}); RETURN NEW; END $$;
            CREATE TRIGGER stall BEFORE {write} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION stall();
            SELECT pg_advisory_lock({_LOCK})
        """)
        try:
            yield release
        finally:
            release()
            holder.execute(f"SET lock_timeout = '9s'; DROP TRIGGER stall ON {table}; DROP FUNCTION stall()")
