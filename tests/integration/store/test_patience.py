"""For how long what others have locked is waited for."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from sqlalchemy import text

from orchestrator.core.errors import HeldUpError
from orchestrator.engine.transaction import Database
from orchestrator.trace import places
from tests.kit.waiting import wait_until

PATIENCE = 0.1
LATCH = text("SELECT pg_advisory_xact_lock(7)")
LONG_BLOCKED = """
    SELECT count(*) FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND datname = current_database()
      AND clock_timestamp() - query_start > %s * interval '3 s'
"""


@pytest.fixture
def patient(database: Database) -> Iterator[Database]:
    """A database whose calls wait for a tenth of a second."""
    one = Database(database.url, pool_size=1, patience=PATIENCE)
    yield one
    one.close()


def test_a_call_that_is_held_up_says_so_and_has_done_nothing(patient: Database):
    with psycopg.connect(patient.url) as other:
        other.execute(str(LATCH))
        with pytest.raises(HeldUpError):
            patient.run("org-1", "ours", lambda transaction: transaction.connection.execute(LATCH))
    patient.run("org-1", "ours", lambda transaction: transaction.connection.execute(LATCH))


def test_whoever_gives_places_waits_for_its_turn_as_long_as_it_takes(patient: Database):
    def place() -> int:
        with patient.begin() as connection:
            return places.place(connection, 10)

    with psycopg.connect(patient.url, autocommit=True) as observer, ThreadPoolExecutor(1) as threads:
        with psycopg.connect(patient.url) as other:
            other.execute(str(places.LOCK))
            placed = threads.submit(place)
            wait_until(lambda: placed.done() or observer.execute(LONG_BLOCKED, [PATIENCE]).fetchone() == (1,))
            assert not placed.done()
        assert placed.result(60) == 0
