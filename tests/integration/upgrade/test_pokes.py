"""The release that found pokes and attempts by indexes over their times, and the one with narrow tables beside them."""

import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

import migrations
from orchestrator.embedded.postgres import Postgres
from orchestrator.engine import outbox
from orchestrator.engine.transaction import Database
from tests.integration.test_migrations import to
from tests.kit import earlier_pokes
from tests.kit.database import copied, opened
from tests.kit.member import at_once

QUEUE = "org.org-1"
OUT, CLAIMED, UNSENT = (uuid.UUID(int=number) for number in (1, 2, 3))


@pytest.fixture(scope="module")
def before(postgres: Postgres) -> str:
    """The name of a database as the release before left it: a poke that is out, one that was claimed, one unsent."""
    name = f"test_{uuid.uuid4().hex}"
    url = postgres.create_database(name)
    to(url, "0028")
    with opened(url) as database:
        earlier_pokes.write(database, QUEUE, OUT, CLAIMED)
        earlier_pokes.send(database, QUEUE, 10)
        earlier_pokes.claim(database, CLAIMED)
        earlier_pokes.write(database, QUEUE, UNSENT)
    return name


@pytest.fixture
def database(postgres: Postgres, before: str) -> Iterator[Database]:
    """A copy of it."""
    with copied(postgres, before) as database:
        yield database


def expand(database: Database) -> None:
    migrations.upgrade(database.url, "expand")
    assert migrations.state(database.url).revision == migrations.state(database.url).needed


def contract(database: Database) -> None:
    migrations.upgrade(database.url, "contract")
    assert migrations.state(database.url).revision == migrations.state(database.url).newest


def write(database: Database, *keys: uuid.UUID) -> None:
    database.run("org-1", "ours", lambda transaction: [transaction.pokes.run(QUEUE, key, 1) for key in keys])


def send(database: Database, limit: int = 100) -> list[uuid.UUID]:
    with database.begin() as connection:
        taken = outbox.take(connection, QUEUE, limit)
        outbox.mark_sent(connection, QUEUE, [identity for identity, _ in taken])
    return [poke.key for _, poke in taken]


def drop(database: Database, key: uuid.UUID) -> None:
    with database.begin() as connection:
        outbox.drop_unsent(connection, [key])


def keys(database: Database, table: str) -> list[uuid.UUID]:
    """The tasks whose pokes, or attempts, a narrow table holds; each as often as it does."""
    of = {"unsent_pokes": "outbox.key FROM unsent_pokes JOIN outbox USING (id)", "sent_pokes": "key FROM sent_pokes"}
    with database.begin() as connection:
        query = text(f"SELECT {of.get(table, f'task_key FROM {table}')}")
        return sorted(connection.execute(query).scalars())


def new() -> uuid.UUID:
    return uuid.uuid4()


def test_what_the_release_before_left_is_found(database: Database):
    expand(database)
    assert keys(database, "unsent_pokes") == [UNSENT]
    assert keys(database, "sent_pokes") == [OUT]
    assert keys(database, "unsettled") == [CLAIMED]
    assert send(database) == [UNSENT]
    assert earlier_pokes.send(database, QUEUE, 10) == []


def test_each_sees_what_the_other_writes_sends_repeats_and_drops(database: Database):
    expand(database)
    theirs, ours, dropped, kept = new(), new(), new(), new()
    earlier_pokes.write(database, QUEUE, theirs)
    write(database, ours)
    assert earlier_pokes.send(database, QUEUE, 2) == [UNSENT, theirs]
    assert send(database) == [ours]
    assert keys(database, "unsent_pokes") == []
    earlier_pokes.repeat(database, ours)
    assert keys(database, "unsent_pokes") == [ours]
    assert ours not in keys(database, "sent_pokes")
    assert send(database) == [ours]
    write(database, dropped)
    earlier_pokes.write(database, QUEUE, kept)
    earlier_pokes.drop(database, dropped)
    assert keys(database, "unsent_pokes") == [kept]
    drop(database, kept)
    assert keys(database, "unsent_pokes") == []
    assert (send(database), earlier_pokes.send(database, QUEUE, 10)) == ([], [])


def test_an_attempt_that_the_release_before_began_is_to_be_settled(database: Database):
    expand(database)
    earlier_pokes.claim(database, UNSENT)
    assert keys(database, "unsettled") == sorted([CLAIMED, UNSENT])


def test_relays_of_both_send_each_poke_once_through_the_whole_upgrade(database: Database):
    rng, written, sent = random.Random(12), [UNSENT], Counter[uuid.UUID]()

    def call(writing: Callable[..., None]) -> Callable[[], None]:
        def write_some() -> None:
            some = [new() for _ in range(rng.randint(1, 3))]
            writing(some)
            written.extend(some)

        return write_some

    def step(relay: Callable[[], list[uuid.UUID]]) -> Callable[[], None]:
        return lambda: sent.update(relay())

    def at_work(*works: Callable[[], object], rounds: int = 12) -> None:
        for _ in range(rounds):
            at_once(*works)

    earlier = call(lambda some: earlier_pokes.write(database, QUEUE, *some))
    ours = call(lambda some: write(database, *some))
    old = (earlier, earlier, step(lambda: earlier_pokes.send(database, QUEUE, 2)))
    mine = (ours, ours, step(lambda: send(database, 2)))
    with ThreadPoolExecutor() as threads:
        load = threads.submit(at_work, *old)
        expand(database)
        load.result(60)
    at_work(*old, *mine)
    while some := [*send(database, 5), *earlier_pokes.send(database, QUEUE, 5)]:
        sent.update(some)
    with ThreadPoolExecutor() as threads:
        load = threads.submit(at_work, *mine)
        contract(database)
        load.result(60)
    while some := send(database):
        sent.update(some)
    assert sent == Counter(written)
    assert keys(database, "unsent_pokes") == []
