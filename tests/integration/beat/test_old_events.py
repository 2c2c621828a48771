"""The sweep of old events, with a clock of its own, on events of the year 2040."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from structlog.testing import capture_logs

from orchestrator import protos as pb
from orchestrator.audit.rows import gaps
from orchestrator.core.errors import NotFoundError
from orchestrator.engine.transaction import Database, Transaction
from orchestrator.store.sweep import Sweep
from orchestrator.trace import forgotten, places, reading, subscriptions
from orchestrator.trace.places import Placed
from orchestrator.trace.reading import Subscription
from orchestrator.trace.sweeps import event_partitions, old_events, old_subscriptions
from tests.integration.beat.test_event_partitions import partitions
from tests.kit.database import Writer, forget_events, names_of, tell
from tests.kit.member import at_once, made, refused
from tests.kit.waiting import wait_until

DAY = 86_400.0
JANUARY, FEBRUARY, MARCH, APRIL = (datetime(2040, month, 10, tzinfo=UTC) for month in (1, 2, 3, 4))
CHANNEL = "ours"


@pytest.fixture
def sweep(database: Database) -> Sweep:
    """Keeps events for thirty days; there are partitions from January to April."""
    made(event_partitions, database, sweep_batch=500).sweep(database, JANUARY)
    return made(old_events, database, event_retention=30 * DAY, subscriber_retention=7 * DAY)


def at(moment: datetime, use_case: Callable[[Transaction], Any]) -> Callable[[Transaction], Any]:
    """Make a use case run at a moment."""

    def run(transaction: Transaction) -> Any:
        transaction.now = moment
        return use_case(transaction)

    return run


def write(database: Database, moment: datetime, *names: str, channel: str = CHANNEL) -> None:
    database.run("org-1", channel, at(moment, lambda transaction: tell(transaction, *names)))


def place(database: Database) -> None:
    with database.engine.begin() as connection:
        places.place(connection, 1000)


def three_months(database: Database) -> None:
    """Two events in each of January, February and March."""
    for moment, name in ((JANUARY, "january"), (FEBRUARY, "february"), (MARCH, "march")):
        write(database, moment, f"{name} 1", f"{name} 2")
    place(database)


def read(database: Database, position: int = 0, channel: str | None = CHANNEL) -> list[Placed]:
    with database.engine.begin() as connection:
        return places.read_after(connection, position, 1000, None if channel is None else [channel])


def kept(database: Database) -> list[str]:
    return names_of(read(database))


def last_forgotten(database: Database) -> int:
    with database.engine.begin() as connection:
        return forgotten.last(connection)


def subscribe(database: Database, moment: datetime, start: str = "", channel: str = CHANNEL) -> Subscription:
    return database.run("org-1", channel, at(moment, lambda transaction: reading.subscribe(transaction, start)))


def sent(database: Database, stream: Subscription, position: int, moment: datetime) -> None:
    with database.engine.begin() as connection:
        subscriptions.note(connection, {stream.id: position}, moment)


def told_at(event: Placed) -> datetime:
    return pb.Event.FromString(event.message).timestamp.ToDatetime(UTC)


def ids(database: Database) -> list[str]:
    return [pb.Event.FromString(event.message).id for event in read(database)]


def test_a_month_is_forgotten_when_all_of_it_is_old(database: Database, sweep: Sweep):
    three_months(database)
    assert (
        sweep.sweep(database, datetime(2040, 3, 3, tzinfo=UTC)) == 1 + 2 + 2
    )  # two places; events_first is empty, and dropped
    assert kept(database) == ["february 1", "february 2", "march 1", "march 2"]
    assert partitions(database) == ["events_2040_02", "events_2040_03", "events_2040_04"]
    assert sweep.sweep(database, datetime(2040, 3, 30, tzinfo=UTC)) == 0
    assert sweep.sweep(database, datetime(2040, 4, 1, tzinfo=UTC)) == 1 + 2 + 1
    assert kept(database) == ["march 1", "march 2"]
    assert last_forgotten(database) == 4


def test_events_of_another_server_are_forgotten_by_their_time(database: Database, sweep: Sweep):
    three_months(database)
    with database.engine.begin() as connection:
        # As another server draws its ids: they say nothing.
        connection.execute(text("ALTER TABLE events ADD COLUMN other uuid DEFAULT gen_random_uuid()"))
        connection.execute(text("UPDATE places SET event = other FROM events WHERE id = event"))
        connection.execute(text("UPDATE events SET id = other"))
        connection.execute(text("ALTER TABLE events DROP COLUMN other"))
    assert sweep.sweep(database, datetime(2040, 3, 3, tzinfo=UTC))
    assert kept(database) == ["february 1", "february 2", "march 1", "march 2"]
    sweep.sweep(database, datetime(2040, 5, 1, tzinfo=UTC))
    assert last_forgotten(database) < 6, "places go on from the last one"


def test_nothing_is_forgotten_unless_it_is_asked_for(database: Database):
    assert made(old_events, database) is None


def test_places_go_on_from_the_last_one_whatever_its_age(database: Database, sweep: Sweep):
    three_months(database)
    sweep.sweep(database, datetime(2050, 1, 1, tzinfo=UTC))
    assert kept(database) == ["march 1", "march 2"]
    write(database, APRIL, "april")
    place(database)
    assert [event.position for event in read(database)] == [5, 6, 7]
    sweep.sweep(database, datetime(2050, 1, 1, tzinfo=UTC))
    assert kept(database) == ["april"]


def test_events_without_a_place_are_kept(database: Database, sweep: Sweep):
    three_months(database)
    write(database, JANUARY, "late")
    sweep.sweep(database, datetime(2050, 1, 1, tzinfo=UTC))
    assert len(kept(database)) == 6
    place(database)
    sweep.sweep(database, datetime(2050, 1, 1, tzinfo=UTC))
    # January ends with the late one now, and that with the last place.
    assert len(kept(database)) == 7
    write(database, APRIL, "april")
    place(database)
    sweep.sweep(database, datetime(2050, 1, 1, tzinfo=UTC))
    assert kept(database) == ["april"]


@pytest.mark.parametrize("before", [0, 1])
def test_what_is_young_is_kept_though_it_has_a_place_among_the_old(database: Database, sweep: Sweep, before: int):
    for number in range(before):
        write(database, JANUARY, f"old {number}")
    write(database, MARCH, "young")
    three_months(database)
    write(database, APRIL, "april")
    place(database)
    sweep.sweep(database, datetime(2040, 3, 15, tzinfo=UTC))
    assert len(kept(database)) == before + 8
    sweep.sweep(database, datetime(2040, 5, 15, tzinfo=UTC))
    assert kept(database) == ["april"]


def test_calls_at_the_turn_of_a_month_may_lie_either_way_round(database: Database, sweep: Sweep):
    turn = datetime(2040, 2, 1, tzinfo=UTC)
    write(database, turn - timedelta(seconds=2), "a")
    write(database, turn + timedelta(seconds=1), "b")
    write(database, turn - timedelta(seconds=1), "c")
    write(database, MARCH, "d")
    place(database)
    sweep.sweep(database, datetime(2040, 3, 5, tzinfo=UTC))
    with database.engine.begin() as connection:
        gone = forgotten.of(connection, CHANNEL)
    assert gone is not None
    assert (gone.position, gone.until) == (3, turn + timedelta(seconds=1))
    assert names_of(read(database, gone.position)) == ["d"]
    assert partitions(database)[0] == "events_2040_02"


def test_a_stream_keeps_what_it_was_not_sent(database: Database, sweep: Sweep):
    three_months(database)
    stream, now = subscribe(database, MARCH), datetime(2040, 5, 20, tzinfo=UTC)
    for position, left in ((1, 6), (2, 4), (3, 4), (4, 2)):
        sent(database, stream, position, now)
        with capture_logs() as logs:
            sweep.sweep(database, now)
        assert len(kept(database)) == left
        held = {(entry["organization"], entry["position"]) for entry in logs if entry["event"] == "retention.held"}
        assert held == ({("org-1", position)} if position < 4 else set())


def test_a_stream_that_ended_keeps_them_for_a_while(database: Database, sweep: Sweep):
    three_months(database)
    ended = datetime(2040, 5, 1, tzinfo=UTC)
    sent(database, subscribe(database, ended), 1, ended)
    forgets = made(old_subscriptions, database, subscriber_retention=7 * DAY)
    week = ended + timedelta(days=7)
    assert forgets.sweep(database, week) == 0
    sweep.sweep(database, week)
    assert len(kept(database)) == 6
    later = ended + timedelta(days=8)
    sweep.sweep(database, later)
    assert len(kept(database)) == 2
    assert forgets.sweep(database, later) == 1
    assert forgets.sweep(database, later) == 0


def test_a_stream_that_is_behind_by_an_old_note_is_not_thrown_back(database: Database, sweep: Sweep):
    three_months(database)
    stream, now = subscribe(database, MARCH), datetime(2040, 5, 20, tzinfo=UTC)
    sent(database, stream, 4, now)
    sent(database, stream, 1, now)
    sweep.sweep(database, now)
    assert len(kept(database)) == 2


def test_who_resumes_after_what_was_forgotten_is_told(database: Database, sweep: Sweep):
    three_months(database)
    write(database, MARCH, "other", channel="other")
    place(database)
    known = ids(database)
    now = datetime(2040, 4, 15, tzinfo=UTC)
    sweep.sweep(database, now)
    for gone in known[:3]:
        with refused("OE0002", "as old as what was forgotten, up to 2040-02-10.*without start_event_id"):
            subscribe(database, now, gone)
    assert subscribe(database, now, known[3]).position == 4
    assert subscribe(database, now, known[4]).position == 5
    begun = subscribe(database, now)
    assert (begun.position, begun.forgotten_until) == (4, FEBRUARY)
    unknown = f"{known[4][:24]}{'0' * 12}"
    with pytest.raises(NotFoundError) as caught:
        subscribe(database, now, unknown)
    assert "forgotten" not in str(caught.value)
    other = subscribe(database, now, channel="other")
    assert (other.position, other.forgotten_until) == (0, None)


def test_a_quiet_channel_may_be_resumed_from_its_last_event(database: Database, sweep: Sweep):
    write(database, JANUARY, "quiet", channel="quiet")
    place(database)
    (last,) = read(database, channel="quiet")
    three_months(database)
    now = datetime(2040, 5, 1, tzinfo=UTC)
    sweep.sweep(database, now)
    assert read(database, channel="quiet") == []
    begun = subscribe(database, now, pb.Event.FromString(last.message).id, channel="quiet")
    assert (begun.position, begun.forgotten_until) == (1, JANUARY)
    write(database, APRIL, "at last", channel="quiet")
    place(database)
    assert names_of(read(database, begun.position, channel="quiet")) == ["at last"]


def test_places_and_rows_of_the_default_partition_are_deleted_in_batches(database: Database, sweep: Sweep):
    lost = datetime(2041, 6, 1, tzinfo=UTC)
    write(database, lost, *map(str, range(5)))
    write(database, lost + timedelta(days=60), "last")
    place(database)
    now = lost + timedelta(days=70)
    assert sweep.run(database, now, sweep.batch) == 1 + 2 + 5  # a month, the first batch, five empty partitions
    assert len(kept(database)) == 4
    sweep.sweep(database, now)
    assert kept(database) == ["last"]


def test_two_sweeps_at_once_and_a_third_one_forget_the_same(database: Database, sweep: Sweep):
    three_months(database)
    now = datetime(2040, 5, 1, tzinfo=UTC)
    at_once(*[lambda: sweep.sweep(database, now)] * 2)
    assert sweep.sweep(database, now) == 0
    assert kept(database) == ["march 1", "march 2"]
    assert last_forgotten(database) == 4
    assert partitions(database) == ["events_2040_03", "events_2040_04"]


def blocked(database: Database) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0"
    with database.engine.begin() as connection:
        return int(connection.execute(text(query)).scalar_one())


def test_a_stream_that_begins_is_waited_for(database: Database, sweep: Sweep):
    """It has looked up its start: what it needs from there on stays."""
    three_months(database)
    now = datetime(2040, 5, 1, tzinfo=UTC)
    with ThreadPoolExecutor() as threads, database.engine.connect() as connection, connection.begin():
        transaction = Transaction(connection, "org-1", CHANNEL)
        transaction.now = now
        begun = reading.subscribe(transaction, ids(database)[0])
        assert begun is not None
        sweeping = threads.submit(sweep.sweep, database, now)
        wait_until(lambda: blocked(database), message="the sweep behind the stream")
        connection.commit()
        sweeping.result(60)
    assert len(kept(database)) == 6


def test_a_stream_that_begins_while_events_are_forgotten_is_told(database: Database, sweep: Sweep):
    three_months(database)
    now = datetime(2040, 5, 1, tzinfo=UTC)
    first = ids(database)[0]
    with ThreadPoolExecutor() as threads, database.engine.connect() as connection, connection.begin():
        subscriptions.hold(connection)
        part = forgotten.next_part(connection, now)
        assert part is not None
        forgotten.note(connection, forgotten.ends(connection, part))
        beginning = threads.submit(subscribe, database, now, first)
        wait_until(lambda: blocked(database), message="the stream behind the sweep")
        connection.commit()
        with pytest.raises(NotFoundError, match="forgotten"):
            beginning.result(60)


def test_a_reader_that_goes_on_for_long_only_puts_off_the_dropping(database: Database, sweep: Sweep):
    three_months(database)
    now = datetime(2040, 5, 1, tzinfo=UTC)
    reader, writer = database.engine.connect(), Writer(database)
    with reader.begin(), ThreadPoolExecutor() as threads, capture_logs() as logs:
        assert len(reader.execute(text("SELECT * FROM events")).all()) == 6
        sweeping = threads.submit(sweep.sweep, database, now)
        wait_until(lambda: blocked(database), message="the sweep behind the reader")
        threads.submit(writer.write, "meanwhile").result(60)
        assert sweeping.result(60) == 2 + 4
        assert len(reader.execute(text("SELECT * FROM events")).all()) == 6
    reader.close()
    writer.commit()
    assert "partitions.busy" in {entry["event"] for entry in logs}
    assert last_forgotten(database) == 4
    # What was written meanwhile lies in the first partition.
    assert sweep.sweep(database, now) == 2
    assert kept(database) == ["march 1", "march 2"]


moves = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 110), st.integers(1, 3)),
    st.tuples(st.just("place"), st.just(0), st.just(0)),
    st.tuples(st.just("subscribe"), st.integers(0, 8), st.integers(0, 1)),
    st.tuples(st.just("follow"), st.integers(0, 3), st.integers(0, 5)),
    st.tuples(st.just("sweep"), st.integers(0, 200), st.just(0)),
)


@given(st.lists(moves, max_size=25))
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_whatever_is_forgotten_is_old_and_no_stream_misses_an_event(
    database: Database, sweep: Sweep, schedule: list[tuple[str, int, int]]
):
    forget_events(database)
    with database.engine.begin() as connection:
        connection.execute(text("TRUNCATE forgotten, subscriptions"))
    start, channels = datetime(2040, 1, 1, tzinfo=UTC), (CHANNEL, "theirs")
    truth: list[Placed] = []
    streams: list[tuple[Subscription, str, list[Placed]]] = []

    def follow(number: int, amount: int, moment: datetime) -> None:
        stream, channel, heard = streams[number % len(streams)]
        position = heard[-1].position if heard else stream.position
        heard += read(database, position, channel)[:amount]
        sent(database, stream, heard[-1].position if heard else stream.position, moment)

    now = start + timedelta(days=120)
    for number, (action, amount, more) in enumerate(schedule):
        if action == "write":
            names = [f"{number}.{part}" for part in range(more)]
            write(database, start + timedelta(days=amount), *names, channel=channels[amount % 2])
        elif action == "place":
            place(database)
        elif action == "subscribe":
            channel = channels[more]
            streams.append((subscribe(database, now, channel=channel), channel, []))
        elif action == "follow" and streams:
            follow(amount, more, now)
        elif action == "sweep":
            moment, before = min(now, start + timedelta(days=amount)), last_forgotten(database)
            sweep.sweep(database, moment)
            for event in truth:
                if before < event.position <= last_forgotten(database):
                    assert told_at(event) < moment - timedelta(days=30)
            with database.engine.begin() as connection:
                assert gaps(connection) == []
        truth += read(database, truth[-1].position if truth else 0, None)
    place(database)
    truth += read(database, truth[-1].position if truth else 0, None)
    left = {event.position for event in read(database, last_forgotten(database), None)}
    assert left == {event.position for event in truth if event.position > last_forgotten(database)}
    for number, (stream, channel, heard) in enumerate(streams):
        follow(number, 1000, now)
        expected = [event for event in truth if event.channel == channel and event.position > stream.position]
        assert heard == expected
