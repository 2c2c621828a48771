"""The migrations end where `store.tables` says, and keep what is there."""

import uuid
from collections.abc import Iterator

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

import migrations
from orchestrator.embedded.postgres import Postgres
from orchestrator.engine.transaction import Database
from orchestrator.store.connecting import make_engine
from orchestrator.store.tables import metadata
from orchestrator.trace import events
from tests.kit.database import names_of, opened, tell


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.create_database(f"test_{uuid.uuid4().hex}")


def to(url: str, revision: str) -> None:
    """Bring a database up or down to a revision."""
    engine = make_engine(url)
    with engine.connect() as connection:
        config = migrations._config()
        config.attributes["connection"] = connection
        step = command.downgrade if revision < (migrations.state(url).revision or "") else command.upgrade
        step(config, revision)
    engine.dispose()


@pytest.fixture
def old(url: str) -> Iterator[Database]:
    """A database before events lay by month, with three events, the last without a place."""
    to(url, "0001")
    with opened(url) as database:
        write(database, "a", "b")
        place(database)
        write(database, "c")
        yield database


def write(database: Database, *names: str) -> None:
    database.run("org-1", "ours", lambda transaction: tell(transaction, *names))


def place(database: Database) -> None:
    with database.engine.begin() as connection:
        events.place(connection, 100)


def order(database: Database) -> list[str]:
    place(database)
    with database.engine.begin() as connection:
        return names_of(events.read_after(connection, 0, 100))


def is_partition(name: str | None, kind: str, _: object) -> bool:
    return kind == "table" and (name or "").startswith("events_")


def test_the_migrations_make_the_tables_of_the_schema(url: str):
    migrations.upgrade(url)
    engine = make_engine(url)
    with engine.connect() as connection:
        options = {"include_name": lambda *given: not is_partition(*given), "compare_server_default": False}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []
    engine.dispose()


def test_events_that_are_there_stay(old: Database):
    migrations.upgrade(old.url)
    write(old, "d")
    assert order(old) == ["a", "b", "c", "d"]
    with old.engine.begin() as connection:
        rows = connection.execute(text("SELECT sequence, CAST(tableoid AS regclass) FROM events ORDER BY position"))
        assert [tuple(row) for row in rows] == [(number, "events_first") for number in (1, 1, 2, 3)]


def test_events_that_bear_a_time_to_come_stay(old: Database):
    with old.engine.begin() as connection:
        later = "UPDATE events SET id = '0fffffff-ffff-7000-8000-000000000000' WHERE sequence = 2"
        connection.execute(text(later))
    migrations.upgrade(old.url)
    assert order(old) == ["a", "b", "c"]


def test_events_stay_on_the_way_back(old: Database):
    migrations.upgrade(old.url)
    write(old, "d")
    to(old.url, "0001")
    write(old, "e")
    assert order(old) == ["a", "b", "c", "d", "e"]
    migrations.upgrade(old.url)
    write(old, "f")
    assert order(old) == ["a", "b", "c", "d", "e", "f"]
