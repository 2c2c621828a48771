"""The sweep that makes the events' partitions, with a clock of its own."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from orchestrator.engine.transaction import Database
from orchestrator.store.sweep import Sweep
from orchestrator.trace.event_ids import new_ids
from orchestrator.trace.sweeps import event_partitions
from tests.kit.database import Writer
from tests.kit.member import Member, after, at_once, made
from tests.kit.waiting import wait_until

NOON = datetime(2040, 1, 15, 12, tzinfo=UTC)
YEAR = ["events_2040_01", "events_2040_02", "events_2040_03", "events_2040_04"]


@pytest.fixture
def sweep(database: Database) -> Sweep:
    return made(event_partitions, database, sweep_batch=500)


def partitions(database: Database) -> list[str]:
    query = """
        SELECT CAST(inhrelid AS regclass) FROM pg_inherits WHERE inhparent = CAST('events' AS regclass) ORDER BY 1
    """
    with database.engine.begin() as connection:
        names = [str(name) for name in connection.execute(text(query)).scalars()]
    return sorted(set(names) - {"events_first", "events_default"})


def write(database: Database, moment: datetime, name: str) -> str:
    """Write an event of a moment; return the partition in which it lies."""
    statement = """
        INSERT INTO events (id, channel, created_at, kind, asset_kind, asset_key, asset)
        VALUES (:id, 'ours', :now, 1, 4, :name, '') RETURNING CAST(tableoid AS regclass)
    """
    (identity,) = new_ids(moment, 1)
    with database.engine.begin() as connection:
        return str(connection.execute(text(statement), {"id": identity, "now": moment, "name": name}).scalar_one())


def test_the_months_to_come_are_made(database: Database, sweep: Sweep):
    assert sweep.sweep(database, NOON) == 4
    assert partitions(database) == YEAR
    assert sweep.sweep(database, NOON + timedelta(days=15)) == 0
    assert sweep.sweep(database, NOON + timedelta(days=20)) == 1
    assert partitions(database) == [*YEAR, "events_2040_05"]


def test_this_month_is_covered_from_the_first_on(database: Database, network: Member, sweep: Sweep):
    sweep.sweep(database, after(0))
    now = datetime.now(UTC)
    assert f"events_{now:%Y_%m}" not in partitions(database)
    assert len(partitions(database)) in (2, 3)
    assert write(database, now, "now") == "events_first"


def test_an_event_lies_in_its_month_to_the_millisecond(database: Database, sweep: Sweep):
    sweep.sweep(database, NOON)
    february = datetime(2040, 2, 1, tzinfo=UTC)
    assert write(database, february - timedelta(microseconds=1), "a") == "events_2040_01"
    assert write(database, february, "b") == "events_2040_02"
    assert write(database, datetime(2041, 1, 1, tzinfo=UTC), "c") == "events_default"


def test_a_month_that_has_begun_in_the_default_partition_gets_none(database: Database, sweep: Sweep):
    assert write(database, NOON, "early") == "events_default"
    assert sweep.sweep(database, NOON) == 3
    assert partitions(database) == YEAR[1:]
    assert write(database, NOON, "late") == "events_default"


def test_two_sweeps_at_once_make_each_once(database: Database, sweep: Sweep):
    counts = at_once(*[lambda: sweep.sweep(database, NOON)] * 2)
    assert sum(counts) == 4
    assert partitions(database) == YEAR


def test_a_writer_that_goes_on_for_long_is_waited_for_a_moment_only(database: Database, sweep: Sweep):
    """Who writes meanwhile waits as long, and no longer; the partitions are made at the next run."""
    slow, quick = Writer(database), Writer(database)
    slow.write("slow")
    with ThreadPoolExecutor() as threads, capture_logs() as logs:
        sweeping = threads.submit(sweep.sweep, database, NOON)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0"

        def blocked() -> int:
            with database.engine.begin() as connection:
                return int(connection.execute(text(waiting)).scalar_one())

        wait_until(blocked, message="the sweep behind the writer")
        threads.submit(quick.write, "quick").result(60)
        assert sweeping.result(60) == 0
    assert [entry["event"] for entry in logs] == ["partitions.busy"]
    slow.commit()
    quick.commit()
    assert sweep.sweep(database, NOON) == 4
