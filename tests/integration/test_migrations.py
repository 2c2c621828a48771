"""The migrations end where `store.tables` says, and keep what is there."""

import uuid
from collections.abc import Iterator

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

import migrations
from orchestrator import protos as pb
from orchestrator.embedded.postgres import Postgres
from orchestrator.engine.transaction import Database
from orchestrator.store.connecting import make_engine
from orchestrator.store.tables import metadata
from orchestrator.trace import places
from tests.kit import earlier_places
from tests.kit.database import names_of, opened, tell


@pytest.fixture
def url(postgres: Postgres) -> str:
    return postgres.create_database(f"test_{uuid.uuid4().hex}")


def to(url: str, revision: str) -> None:
    """Bring a database up or down to a revision."""
    engine = make_engine(url)
    try:
        with engine.connect() as connection:
            config = migrations._config()
            config.attributes["connection"] = connection
            step = command.downgrade if revision < (migrations.state(url).revision or "") else command.upgrade
            step(config, revision)
    finally:
        engine.dispose()


@pytest.fixture
def old(url: str) -> Iterator[Database]:
    """A database before events lay by month, with three events, the last without a place."""
    to(url, "0001")
    with opened(url) as database:
        earlier_places.write(database, "a", "b")
        with database.begin() as connection:
            earlier_places.place(connection, 100)
        earlier_places.write(database, "c")
        yield database


def write(database: Database, *names: str) -> None:
    with database.begin() as connection:
        transaction = database.transaction(connection, "org-1", "ours")
        tell(transaction, *names)
        transaction.flush()


def order(database: Database) -> list[str]:
    with database.engine.begin() as connection:
        places.place(connection, 100)
        return names_of(places.read_after(connection, 0, 100))


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
        rows = connection.execute(text("SELECT sequence, CAST(tableoid AS regclass) FROM events ORDER BY sequence, id"))
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
    earlier_places.write(old, "e")
    with old.begin() as connection:
        earlier_places.place(connection, 100)
    assert earlier_places.order(old) == ["a", "b", "c", "d", "e"]
    migrations.upgrade(old.url)
    write(old, "f")
    assert order(old) == ["a", "b", "c", "d", "e", "f"]


def test_the_history_is_told_as_alembic_has_it():
    """It is read off the modules, without running them."""
    told = [
        migrations.Revision(
            script.revision,
            getattr(script.module, "half", "expand"),
            getattr(script.module, "serves_from", script.revision),
        )
        for script in ScriptDirectory.from_config(migrations._config()).walk_revisions()
    ]
    assert migrations.history() == told[::-1]


BEFORE_KINDS = """
    INSERT INTO compute_plans (key, channel, owner, created_at, message, ended_at) VALUES
        (:running, 'ours', 'org-1', now(), :running_message, NULL),
        (:cancelled, 'ours', 'org-2', now(), :cancelled_message, now()),
        (:failed, 'ours', 'org-1', now(), :failed_message, now());
    INSERT INTO tasks (key, channel, owner, created_at, message, plan_key, function_key, worker, rank, status,
                       pending_parents)
    VALUES (:task, 'ours', 'org-1', now(), 'message', :running, :function, 'org-2', 0, 2, 0);
    INSERT INTO outbox (kind, organization, asset_key, attempt, created_at) VALUES
        ('task', 'org-2', :task, 1, now()), ('function', 'org-1', :function, 1, now()),
        ('disable', 'org-2', :task, 1, now()), ('stop', 'org-2', :task, 1, now()), ('purge', 'org-2', :task, 0, now());
    INSERT INTO queues (organization, heard_at, since) VALUES ('org-2', now(), now());
    INSERT INTO nodes (channel, organization, name, heard_at, attempts) VALUES ('ours', 'org-2', 'node-1', now(), 1)
"""
AFTER_KINDS = {
    "SELECT key, kind, channel, owner, outcome FROM plans": {
        ("running", "compute", "ours", "org-1", None),
        ("cancelled", "compute", "ours", "org-2", pb.STATUS_CANCELED),
        ("failed", "compute", "ours", "org-1", pb.STATUS_FAILED),
    },
    "SELECT key, requires, kind, worker, queue, priority FROM tasks": {
        ("task", "function", "compute", "org-2", "org.org-2", 0)
    },
    "SELECT message, queue, key, attempt FROM outbox": {
        ("task.run", "org.org-2", "task", 1),
        ("function.build", "org.org-1", "function", 1),
        ("outputs.disable", "org.org-2", "task", 1),
        ("stop_attempts", "org.org-2", "task", 1),
        ("purge", "org.org-2", "task", 0),
    },
    "SELECT name FROM queues": {("org.org-2",)},
    "SELECT name, queue, slots FROM nodes": {("node-1", "org.org-2", None)},
}


def test_what_is_stored_becomes_work_of_a_kind_and_back(url: str):
    """A database of the release before is converted with its data; the way back keeps them too."""
    keys = {name: uuid.uuid4() for name in ("running", "cancelled", "failed", "task", "function")}
    names = {key: name for name, key in keys.items()}
    plans = {"running": pb.ComputePlan(), "cancelled": pb.ComputePlan(), "failed": pb.ComputePlan()}
    plans["cancelled"].cancelation_date.GetCurrentTime()
    plans["failed"].failure_date.GetCurrentTime()
    to(url, "0007")
    with opened(url) as database:

        def rows(query: str) -> set[tuple[object, ...]]:
            with database.begin() as connection:
                return {tuple(names.get(value, value) for value in row) for row in connection.execute(text(query))}

        with database.begin() as connection:
            messages = {f"{name}_message": plan.SerializeToString() for name, plan in plans.items()}
            for each in BEFORE_KINDS.split(";"):
                connection.execute(text(each), {**keys, **messages})
        before = (
            rows("SELECT kind, organization, asset_key FROM outbox"),
            rows("SELECT key, ended_at FROM compute_plans"),
        )
        migrations.upgrade(url)
        assert {query: rows(query) for query in AFTER_KINDS} == AFTER_KINDS
        to(url, "0007")
        after = (
            rows("SELECT kind, organization, asset_key FROM outbox"),
            rows("SELECT key, ended_at FROM compute_plans"),
        )
        assert after == before


OTHER_KIND = "INSERT INTO plans (key, kind, channel, owner) VALUES (gen_random_uuid(), 'echo', 'ours', 'org-1')"


def test_the_way_back_is_refused_where_there_is_work_of_other_kinds(url: str):
    migrations.upgrade(url)
    with opened(url) as database:
        with database.begin() as connection:
            connection.execute(text(OTHER_KIND))
        with pytest.raises(migrations.NoWayBackError, match=r"work of the kinds echo, .* delete its rows"):
            to(url, "0007")
        assert migrations.state(url).revision == "0008"
        with database.begin() as connection:
            connection.execute(text("DELETE FROM plans"))
        to(url, "0007")
    assert migrations.state(url).revision == "0007"


BEFORE_STATES = """
    INSERT INTO tasks (key, channel, owner, created_at, message, kind, plan_key, worker, queue, rank, status,
                       pending_parents, attempts, token_hash, due_at, poked_at, pokes)
    VALUES (:poked, 'ours', 'org-1', now(), 'm', 'compute', :plan, 'org-2', 'org.org-2', 0, 2, 0, 0, NULL, NULL,
            now(), 1),
           (:unpoked, 'ours', 'org-1', now(), 'm', 'compute', :plan, 'org-2', 'org.org-2', 0, 2, 0, 2, NULL, NULL,
            now(), 3),
           (:paused, 'ours', 'org-1', now(), 'm', 'compute', :plan, 'org-2', 'org.org-2', 0, 2, 0, 1, NULL, now(),
            NULL, 0),
           (:doing, 'ours', 'org-1', now(), 'm', 'compute', :plan, 'org-2', 'org.org-2', 1, 3, 0, 1, 'token', NULL,
            NULL, 0),
           (:waiting, 'ours', 'org-1', now(), 'm', 'compute', :plan, 'org-2', 'org.org-2', 1, 1, 2, 0, NULL, NULL,
            NULL, 0);
    INSERT INTO outbox (message, queue, key, attempt, created_at, sent_at) VALUES
        ('task.run', 'org.org-2', :poked, 1, now(), now()), ('task.run', 'org.org-2', :unpoked, 2, now(), now())
"""
STATES = """
    SELECT key, plan_key, status, pending_parents, attempts, token_hash, due_at IS NULL AS now,
           poked_at IS NULL AS silent, pokes
    FROM {}
"""


def test_states_come_apart_from_definitions_and_back(url: str):
    """What is To do has a poke in the outbox afterwards, by which the sweep of lost ones finds it."""
    keys = {name: uuid.uuid4() for name in ("poked", "unpoked", "paused", "doing", "waiting", "plan")}
    to(url, "0010")
    with opened(url) as database:

        def rows(query: str) -> set[tuple[object, ...]]:
            with database.begin() as connection:
                return set(map(tuple, connection.execute(text(query))))

        with database.begin() as connection:
            for each in BEFORE_STATES.split(";"):
                connection.execute(text(each), keys)
        before = rows(STATES.format("tasks"))
        assert len(before) == 5
        to(url, "0011")
        assert rows(STATES.format("task_states")) == before
        assert rows("SELECT key, attempt, sent_at IS NULL AS unsent FROM outbox") == {
            (keys["poked"], 1, False),
            (keys["unpoked"], 2, False),
            (keys["unpoked"], 3, True),
        }
        to(url, "0010")
        assert rows(STATES.format("tasks")) == before
