"""The door to Postgres: what commits when, what an array is after it, and which connections are lent again."""

import os
import socket
from contextlib import suppress
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import TextClause, literal_column, select

from orchestrator.core.errors import BadRequestError, UnavailableError
from orchestrator.engine.transaction import Database, Transaction
from orchestrator.store import tables
from orchestrator.store.statements import statement
from tests.kit.database import opened

_NOTE = statement("INSERT INTO sweeps (name, ran_at, repaired) VALUES (:name, now(), 0) RETURNING name")
_NOTE_NOTHING = statement(
    "INSERT INTO sweeps (name, ran_at, repaired) SELECT :name, now(), 0 WHERE false RETURNING name"
)


class LeftError(Exception):
    """A use case that fails."""


def noted(database: Database) -> set[str]:
    with database.begin() as connection:
        return set(connection.execute(statement("SELECT name FROM sweeps")).scalars())


@pytest.fixture(autouse=True)
def _nothing_noted(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(statement("DELETE FROM sweeps"))


def run(database: Database, *steps: tuple[bool, TextClause, str]) -> None:
    """Run statements, alone or not, and fail."""

    def use_case(transaction: Transaction) -> None:
        for alone, query, name in steps:
            send = transaction.alone if alone else transaction.connection.execute
            send(query, {"name": name})
        raise LeftError

    with pytest.raises(LeftError):
        database.run("org-1", "ours", use_case)


@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        pytest.param([(True, _NOTE, "a")], {"a"}, id="alone"),
        pytest.param([(False, _NOTE, "a"), (True, _NOTE, "b")], set(), id="after another it is a part of the whole"),
        pytest.param(
            [(True, _NOTE_NOTHING, "a"), (False, _NOTE, "b")], set(), id="what follows nothing begins a whole"
        ),
    ],
)
def test_what_is_alone_is_kept_whatever_follows(
    database: Database, steps: list[tuple[bool, TextClause, str]], kept: set[str]
):
    run(database, *steps)
    assert noted(database) == kept
    # The connection is lent again as any other.
    run(database, (False, _NOTE, "c"))
    assert noted(database) == kept


def test_it_tells_before_its_commit_and_only_once(database: Database):
    told: list[set[str]] = []

    def use_case(transaction: Transaction) -> None:
        transaction.before_commit = lambda: told.append(noted(database))
        transaction.alone(_NOTE, {"name": "a"})

    database.run("org-1", "ours", use_case)
    assert told == [set()]
    assert noted(database) == {"a"}


TYPES: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    "uuid": st.uuids(),
    "bytea": st.binary(),
    "smallint": st.integers(-(2**15), 2**15 - 1),
    "int": st.integers(-(2**31), 2**31 - 1),
    "bigint": st.integers(-(2**63), 2**63 - 1),
}


@pytest.mark.parametrize("kind", TYPES)
@given(data=st.data())
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_array_arrives_as_it_was_sent(database: Database, kind: str, data: st.DataObject):
    sent = data.draw(st.lists(st.none() | TYPES[kind], max_size=5))
    query = statement("SELECT CAST(:sent AS $KIND[]) AS came", KIND=kind)
    with database.begin() as connection:
        assert connection.execute(query, {"sent": sent}).scalar_one() == sent


@pytest.mark.parametrize(("kind", "value"), [("text", "a\0b"), ("smallint", 2**15), ("bigint", 2**63)])
def test_what_an_array_cannot_bear_is_the_caller_s_fault(database: Database, kind: str, value: object):
    query = statement("SELECT CAST(:sent AS $KIND[]) AS came", KIND=kind)
    with pytest.raises(BadRequestError, match="cannot be kept"), database.begin() as connection:
        connection.execute(query, {"sent": [value]})


def test_both_kinds_of_statements_are_of_one_transaction(database: Database):
    query = select(tables.sweeps.c.name)
    with database.begin() as connection:
        connection.execute(_NOTE, {"name": "a"})
        assert list(connection.execute(query).scalars()) == ["a"]
        with database.begin() as other:
            assert list(other.execute(query).scalars()) == []


@pytest.mark.parametrize("named", [True, False])
def test_whatever_sent_a_statement_its_error_is_psycopg_s(database: Database, named: bool):
    wrong = statement("SELECT key FROM nowhere") if named else select(literal_column("nothing"))
    with pytest.raises(psycopg.Error), database.begin() as connection:
        connection.execute(wrong)


def test_connections_that_are_as_old_as_a_dropped_one_are_not_lent_again(database: Database):
    pid = statement("SELECT pg_backend_pid() AS pid")
    with opened(database.url, 2) as pool:
        with pool.begin() as first, pool.begin() as second:
            old = {connection.execute(pid).scalar_one() for connection in (first, second)}
        with psycopg.connect(database.url, autocommit=True) as killer:
            killer.execute("SELECT pg_terminate_backend(%s)", [min(old)])
        # Which of the two is lent first is the pool's; one call may meet the end of the one that was killed.
        with suppress(UnavailableError):
            for _ in range(2):
                with pool.begin() as first, pool.begin() as second:
                    lent = {connection.execute(pid).scalar_one() for connection in (first, second)}
        with pool.begin() as first, pool.begin() as second:
            lent = {connection.execute(pid).scalar_one() for connection in (first, second)}
    assert not old & lent


def test_a_stream_reads_in_parts(database: Database):
    query = statement("SELECT number FROM generate_series(1, :last) AS number")
    with database.begin() as connection:
        assert [row.number for row in connection.stream(query, {"last": 1000}, 7)] == list(range(1, 1001))


def test_keys_are_uuids_on_both_ways(database: Database):
    key = UUID(int=7)
    with database.begin() as connection:
        assert connection.execute(statement("SELECT CAST(:key AS uuid) AS key"), {"key": key}).one().key == key


def test_what_no_socket_takes_at_once_is_sent_ahead_all_the_same(database: Database) -> None:
    slow = statement("SELECT length(:sent) AS length, pg_sleep(0.01)")
    with database.begin() as connection:
        connection.execute(statement("SELECT"))
        with socket.socket(fileno=os.dup(connection.driver.fileno())) as link:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        with connection.ahead() as send:
            answers = [send(slow, {"sent": "x" * 500_000}) for _ in range(2)]
        assert [answer().one().length for answer in answers] == [500_000, 500_000]


@pytest.mark.parametrize("left", [False, True], ids=["to its end", "left"])
def test_a_statement_that_was_sent_ahead_and_fails_is_what_is_raised(database: Database, left: bool) -> None:
    def send_both() -> None:
        with database.begin() as connection, connection.ahead() as send:
            first = send(statement("SELECT 1 / CAST(:zero AS int)"), {"zero": 0})
            send(_NOTE, {"name": "behind"})
            if left:
                raise LeftError
            first()

    with pytest.raises(BadRequestError, match="division by zero"):
        send_both()
    assert noted(database) == set()


def test_what_was_sent_ahead_is_kept_with_its_transaction(database: Database) -> None:
    with database.begin() as connection:
        with connection.ahead() as send:
            answers = [send(_NOTE, {"name": name}) for name in ("first", "second")]
            assert answers[0]().scalar_one() == "first"
        connection.execute(_NOTE, {"name": "third"})
    assert noted(database) == {"first", "second", "third"}
    assert answers[1]().scalar_one() == "second"
