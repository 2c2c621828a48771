"""The release that gave events their place in their row, and the one with a table of places, side by side."""

import random
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

import migrations
from orchestrator import protos as pb
from orchestrator.audit import stored
from orchestrator.audit.rows import gaps, lost
from orchestrator.audit.violations import Rule
from orchestrator.embedded.postgres import Postgres
from orchestrator.engine.transaction import Database
from orchestrator.trace import adopted, forgotten, places
from orchestrator.trace.sweeps import old_events
from tests.integration.test_migrations import to
from tests.kit import earlier_places
from tests.kit.database import Writer, copied, names_of, opened
from tests.kit.member import at_once, made
from tests.kit.waiting import wait_until

Place = Callable[[places.Connection, int], int]
SEQUENCERS: tuple[Place, Place] = (earlier_places.place, places.place)


@pytest.fixture(scope="module")
def before(postgres: Postgres) -> str:
    """The name of a database as the release before left it, with four events, the last without a place."""
    name = f"test_{uuid.uuid4().hex}"
    url = postgres.create_database(name)
    to(url, "0018")
    with opened(url) as database:
        earlier_places.write(database, "a", "b")
        earlier_places.write(database, "c")
        step(database, earlier_places.place)
        earlier_places.write(database, "d")
    return name


@pytest.fixture
def database(postgres: Postgres, before: str) -> Iterator[Database]:
    """A copy of it."""
    with copied(postgres, before) as database:
        yield database


def write(database: Database, *names: str) -> None:
    writer = Writer(database)
    writer.write(*names)
    writer.commit()


def step(database: Database, place: Place, limit: int = 5000) -> int:
    with database.begin() as connection:
        return place(connection, limit)


def order(database: Database) -> list[str]:
    with database.begin() as connection:
        assert gaps(connection) == []
        assert list(lost(connection, "ours")) == []
        return names_of(places.read_after(connection, 0, 100_000))


def expand(database: Database) -> None:
    to(database.url, "0026")


def contract(database: Database) -> None:
    to(database.url, "0028")


def test_what_the_release_before_placed_keeps_its_place(database: Database):
    expand(database)
    assert order(database) == ["a", "b", "c"]
    assert step(database, places.place) == 1
    assert order(database) == earlier_places.order(database) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("first", [0, 1])
def test_whoever_writes_and_whoever_places_both_read_one_order(database: Database, first: int):
    expand(database)
    one, other = SEQUENCERS[first], SEQUENCERS[1 - first]
    earlier_places.write(database, "e")
    write(database, "f", "g")
    assert step(database, one, 1) == 1
    assert step(database, other, 1) == 1
    assert order(database) == earlier_places.order(database) == list("abcde")
    assert step(database, one) == 2
    assert step(database, other) == 0
    assert order(database) == earlier_places.order(database) == list("abcdefg")


@pytest.mark.parametrize("until", [expand, contract])
def test_all_that_reads_places_does_so_in_both_halves(database: Database, until: Callable[[Database], None]):
    until(database)
    step(database, places.place)
    with database.begin() as connection:
        (first, *_, last) = placed = places.read_after(connection, 0, 100)
        ids = [uuid.UUID(pb.Event.FromString(event.message).id) for event in placed]
        assert places.position_of(connection, "ours", ids[2]) == 3
        assert places.last_position(connection) == last.position == 4
        assert adopted.last(connection, "ours") == adopted.Last(ids[3], True)
        later = pb.Event(asset_key="e", asset_kind=pb.ASSET_COMPUTE_PLAN, event_kind=pb.EVENT_ASSET_CREATED)
        later.id, later.compute_plan.key = str(uuid.uuid4()), "e"
        adopted.keep(connection, "ours", [later], [datetime.now(UTC)])
        part = forgotten.Part(0, first.position)
        forgotten.note(connection, forgotten.ends(connection, part))
        assert forgotten.next_part(connection, datetime.now(UTC)) is None
    if until is contract:
        # It reads tables of later releases, too.
        migrations.upgrade(database.url)
        assert [each.rule for each in stored.check(database, "ours", timedelta(days=1))] == [Rule.ROW_AS_TOLD] * 4
    made(old_events, database, event_retention=1.0).sweep(database, datetime.now(UTC))
    assert order(database) == list("bcde")
    if until is expand:
        assert earlier_places.order(database)[1:] == list("bcde")


def test_who_is_held_up_by_the_contracting_half_goes_on_after_it(database: Database):
    """What a server of this release wrote before, and what it writes after."""
    expand(database)
    write(database, "e")
    late = Writer(database)
    late.write("f")
    with ThreadPoolExecutor() as threads:
        contracting = threads.submit(contract, database)
        wait_until(lambda: blocked(database), message="the migration behind the writer")
        late.commit()
        contracting.result(30)
    write(database, "g")
    assert step(database, places.place) == 4
    assert order(database) == list("abcdefg")


def blocked(database: Database) -> bool:
    query = """
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0
    """
    with database.begin() as connection:
        return bool(connection.execute(text(query)).scalar_one())


def test_both_releases_at_work_at_once_make_one_order_through_the_whole_upgrade(database: Database):
    """Writers and sequencers of both, while the expanding half comes, and those of this one while the other does."""
    names, rng = iter(range(10**6)), random.Random(12)
    written = ["a", "b", "c", "d"]

    def call(write: Callable[..., None]) -> None:
        mine = [f"{next(names)}" for _ in range(rng.randint(1, 3))]
        write(database, *mine)
        written.extend(mine)

    def at_work(*works: Callable[[], object], rounds: int = 12) -> None:
        for _ in range(rounds):
            at_once(*works)

    def earlier() -> None:
        call(earlier_places.write)

    def ours() -> None:
        call(write)

    old = (earlier, earlier, lambda: step(database, earlier_places.place, 2))
    new = (ours, ours, lambda: step(database, places.place, 2))
    with ThreadPoolExecutor() as threads:
        load = threads.submit(at_work, *old)
        expand(database)
        load.result(60)
    at_work(*old, *new)
    assert len(earlier_places.order(database)) > 10
    while step(database, random.choice(SEQUENCERS), 7):
        pass
    assert order(database) == earlier_places.order(database)
    with ThreadPoolExecutor() as threads:
        load = threads.submit(at_work, *new)
        contract(database)
        load.result(60)
    while step(database, places.place):
        pass
    assert sorted(order(database)) == sorted(written)
    with database.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM unplaced")).scalar_one() == 0
