"""`orchestrator audit check` where the first events were forgotten: what is left of a true run is true."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import groupby
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from orchestrator import protos as pb
from orchestrator.audit import stored
from orchestrator.audit.history import check
from orchestrator.audit.violations import Rule, Violation
from orchestrator.engine.transaction import Database
from orchestrator.trace import forgotten, places
from tests.kit.database import opened
from tests.kit.servers import serving

from .commands import run
from .test_audit import CHANNEL, CHANNELS, RETENTION, TAMPERINGS, copy, options, ran, rules_of

__all__ = ["copy", "ran"]


@pytest.fixture
def database(copy: str) -> Iterator[Database]:
    with opened(copy, pool_size=2) as database:
        yield database


def read(database: Database, position: int = 0) -> list[places.Placed]:
    with database.engine.begin() as connection:
        return places.read_after(connection, position, 10_000, [CHANNEL])


def message(event: places.Placed) -> pb.Event:
    return pb.Event.FromString(event.message)


def ends_of_calls(database: Database) -> list[int]:
    calls = groupby(read(database), key=lambda event: message(event).timestamp.ToNanoseconds())
    return [list(call)[-1].position for _, call in calls]


def forget(database: Database, position: int, one_in: int = 1) -> None:
    """Forget the events up to a place, as if they were a month's; of so many rows only one goes at once."""
    with database.engine.begin() as connection:
        part = forgotten.Part(forgotten.last(connection), position)
        forgotten.note(connection, forgotten.ends(connection, part))
        rows = "DELETE FROM events USING places WHERE event = id AND position <= :position AND position % :one_in = 0"
        connection.execute(text(rows), {"position": position, "one_in": one_in})


def told(database: Database) -> list[Violation]:
    """What the first part of the audit finds in the events that are kept."""
    with database.engine.begin() as connection:
        gone = forgotten.of(connection, CHANNEL)
    kept = read(database, gone.position if gone else 0)
    return list(check(map(message, kept), gone.until if gone else None))


def rows(database: Database, attempt_retention: timedelta | None = None) -> list[Violation]:
    """What the second part finds."""
    return list(stored.check(database, CHANNEL, RETENTION, attempt_retention))


def test_wherever_the_trace_begins_it_is_true(database: Database):
    ends = ends_of_calls(database)
    assert len(ends) > 20
    for position in ends:
        forget(database, position)
        assert (position, told(database), rows(database)) == (position, [], [])


@pytest.mark.parametrize("one_in", [2, 3])
def test_rows_that_still_lie_about_tell_nothing(database: Database, one_in: int):
    forget(database, ends_of_calls(database)[-4], one_in)
    assert (told(database), rows(database)) == ([], [])


def test_the_report_says_what_was_forgotten(copy: str, database: Database, tmp_path: Path):
    middle = ends_of_calls(database)[15]
    until = max(message(event).timestamp.ToDatetime() for event in read(database) if event.position <= middle)
    forget(database, middle)
    with serving(tmp_path, copy, CHANNELS) as address:
        code, output, _ = run("audit", *options(address), "check")
        assert code == 0
        assert f"earlier events, up to {until:%Y-%m-%d %H:%M:%S} UTC, were forgotten" in output
        environment = {"ORCHESTRATOR_DATABASE_URL": copy}
        code, output, _ = run("audit", *options(address), "check", "--database", "--json", environment=environment)
        assert (code, rules_of(output)) == (0, set())
        assert f'"forgotten_until": "{until.isoformat()}+00:00"' in output


def test_what_only_looks_forgotten_is_found(copy: str, database: Database, tmp_path: Path):
    """Nobody says that events were forgotten, and the first are gone."""
    with psycopg.connect(copy) as connection:
        connection.execute(
            "DELETE FROM events USING places WHERE event = id AND position <= %s", [ends_of_calls(database)[15]]
        )
    assert {each.rule for each in rows(database)} >= {Rule.POSITIONS}
    with serving(tmp_path, copy, CHANNELS) as address:
        code, output, _ = run("audit", *options(address), "check", "--json")
        assert (code, rules_of(output)) == (1, {Rule.KNOWN_ASSET})


NOT_TO_BE_KNOWN = {"the first event deleted", "a plan deleted", "no pokes"}
"""What nothing tells of any more: the event itself, plans and pokes of the part that was forgotten."""


@pytest.mark.parametrize("name", sorted(TAMPERINGS.keys() - NOT_TO_BE_KNOWN))
def test_tampering_with_rows_is_found_though_much_was_forgotten(database: Database, name: str):
    """The plans were registered in the part that was forgotten, and ran in the one that is kept."""
    executing = [
        event.position for event in read(database) if message(event).compute_task.status == pb.STATUS_EXECUTING
    ]
    forget(database, executing[0] - 1)
    assert rows(database) == []
    statement, rules = TAMPERINGS[name]
    with database.engine.begin() as connection:
        assert connection.execute(text(statement)).rowcount > 0
    assert {each.rule for each in rows(database)} & rules


@pytest.mark.parametrize("column", ["claimed_at", "ended_at"])
def test_an_attempt_that_no_event_tells_of_is_as_old_as_they_are(database: Database, column: str):
    forget(database, ends_of_calls(database)[-1])
    assert rows(database) == []
    with database.engine.begin() as connection:
        later = f"UPDATE attempts SET {column} = {column} + interval '1 hour' WHERE (outcome IS NULL) = (:open)"
        connection.execute(text(later), {"open": column == "claimed_at"})
    assert {each.rule for each in rows(database)} == {Rule.ATTEMPT_ROWS}


def test_attempts_that_were_forgotten_by_their_age_are_not_missed(database: Database):
    ended = "SELECT key FROM task_states WHERE status IN (4, 5, 6)"
    with database.engine.begin() as connection:
        connection.execute(text(f"DELETE FROM attempts WHERE task_key IN ({ended})"))
    assert {each.rule for each in rows(database)} == {Rule.ATTEMPT_ROWS}
    assert {each.rule for each in rows(database, timedelta(days=1))} == {Rule.ATTEMPT_ROWS}
    assert rows(database, timedelta(0)) == []


def test_attempts_of_a_task_that_goes_on_or_a_part_of_them_are_missed_whatever_their_age(database: Database):
    with database.engine.begin() as connection:
        running = "DELETE FROM attempts WHERE task_key IN (SELECT key FROM task_states WHERE status = 3)"
        assert connection.execute(text(running)).rowcount == 1
        assert connection.execute(text("DELETE FROM attempts WHERE number = 2")).rowcount == 1
    assert [each.rule for each in rows(database, timedelta(0))] == [Rule.ATTEMPT_ROWS] * 2
