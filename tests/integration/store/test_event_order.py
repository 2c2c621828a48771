"""The order of readers: however unkindly transactions overlap, none sees a gap, a repeat or a reordering.

What holds, whatever commits at the same time: a place, once given, stays; the events of a call are neighbours, in their
order; and a call whose commit was acknowledged before another one wrote its events comes before it. So what saw,
or waited for, something comes after it.
"""

import random
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from threading import Event
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from orchestrator import protos as pb
from orchestrator.compute import plans
from orchestrator.core.errors import NotFoundError
from orchestrator.engine.transaction import Database, Transaction
from orchestrator.trace import places
from tests.kit.database import Writer, forget_events, names_of, tell
from tests.kit.stalling import stalled
from tests.kit.waiting import wait_until


def place(database: Database, limit: int = 5000) -> int:
    """Do one step of a sequencer."""
    with database.engine.begin() as connection:
        return places.place(connection, limit)


def read(database: Database, position: int = 0, limit: int = 10_000, channel: str | None = "ours") -> list[Any]:
    with database.engine.begin() as connection:
        return places.read_after(connection, position, limit, None if channel is None else [channel])


def order(database: Database) -> list[str]:
    """Return what a reader sees who begins at the start, having checked each who resumes in between."""
    placed = read(database)
    for index, event in enumerate(placed):
        assert read(database, event.position) == placed[index + 1 :]
        event_id = pb.Event.FromString(event.message).id
        with database.engine.begin() as connection:
            assert places.position_of(connection, "ours", uuid.UUID(event_id)) == event.position
    return names_of(placed)


def blocked(database: Database) -> int:
    """Return how many sessions wait for a lock."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND cardinality(pg_blocking_pids(pid)) > 0"
    )
    with database.engine.begin() as connection:
        return int(connection.execute(text(query)).scalar_one())


def stalled_event(database: Database, name: str) -> AbstractContextManager[Callable[[], None]]:
    """Hold up whoever writes the event of this name, between two rows."""
    return stalled(database.url, "INSERT ON events", f"NEW.asset_key = '{name}'")


def test_who_draws_first_and_commits_last_changes_nothing_for_readers(database: Database):
    first, second, third = (Writer(database) for _ in range(3))
    first.write("a1", "a2")
    second.write("b1", "b2")
    second.commit()
    assert place(database) == 2
    assert order(database) == ["b1", "b2"]
    third.write("c1")
    first.commit()
    assert place(database) == 2
    assert order(database) == ["b1", "b2", "a1", "a2"]
    third.commit()
    assert place(database) == 1
    assert place(database) == 0
    assert order(database) == ["b1", "b2", "a1", "a2", "c1"]


def test_who_commits_before_another_writes_comes_before_it(database: Database):
    early, late = Writer(database), Writer(database)
    late.write("b")
    late.commit()
    early.write("a")
    early.commit()
    place(database)
    assert order(database) == ["b", "a"]


def test_who_is_rolled_back_leaves_no_gap(database: Database):
    lost, kept = Writer(database), Writer(database)
    lost.write("lost 1", "lost 2")
    kept.write("kept")
    (lost_id, *_) = lost.event_ids()
    lost.roll_back()
    kept.commit()
    place(database)
    assert [event.position for event in read(database)] == [1]
    assert order(database) == ["kept"]
    with database.engine.begin() as connection, pytest.raises(NotFoundError):
        places.position_of(connection, "ours", lost_id)


def test_an_event_without_a_place_cannot_be_resumed_from_yet(database: Database):
    writer = Writer(database)
    writer.write("a")
    (event_id,) = writer.event_ids()
    with database.engine.begin() as connection, pytest.raises(NotFoundError):
        places.position_of(connection, "ours", event_id)
    writer.commit()
    with database.engine.begin() as connection:
        assert places.position_of(connection, "ours", event_id) is None
        with pytest.raises(NotFoundError):
            places.position_of(connection, "another channel", event_id)
    place(database)
    with database.engine.begin() as connection:
        assert places.position_of(connection, "ours", event_id) == 1


def test_the_events_of_a_call_are_neighbours_even_if_another_wrote_in_between(database: Database):
    with stalled_event(database, "a2") as release, ThreadPoolExecutor() as threads:
        slow, quick = Writer(database), Writer(database)
        writing = threads.submit(slow.write, "a1", "a2", "a3")
        wait_until(lambda: blocked(database), message="the slow writer between its rows")
        quick.write("b1", "b2")
        release()
        writing.result(60)
        slow.commit()
        quick.commit()
    place(database)
    assert order(database) == ["a1", "a2", "a3", "b1", "b2"]


def test_a_batch_does_not_cut_a_call(database: Database):
    with stalled_event(database, "a3") as release, ThreadPoolExecutor() as threads:
        slow, quick = Writer(database), Writer(database)
        writing = threads.submit(slow.write, *(f"a{number}" for number in range(8)))
        wait_until(lambda: blocked(database), message="the slow writer between its rows")
        quick.write("b1", "b2")
        release()
        writing.result(60)
        slow.commit()
        place(database, limit=2)
        quick.commit()
    while place(database, limit=2):
        pass
    assert order(database) == [*(f"a{number}" for number in range(8)), "b1", "b2"]


def test_what_waited_for_a_lock_comes_after_what_it_waited_for(database: Database):
    key = str(uuid.uuid4())

    def rename(name: str) -> Callable[[Transaction], Any]:
        return lambda transaction: plans.update(transaction, pb.UpdateComputePlanParam(key=key, name=name))

    database.run("org-1", "ours", lambda transaction: plans.register(transaction, pb.NewComputePlan(key=key, name="0")))
    with ThreadPoolExecutor() as threads:
        go, waiting = Event(), []

        def hold(transaction: Transaction) -> None:
            rename("1")(transaction)
            assert go.wait(60)

        holder = threads.submit(database.run, "org-1", "ours", hold)
        wait_until(lambda: holds_a_row(database))
        for number in range(2, 5):
            waiting.append(threads.submit(database.run, "org-1", "ours", rename(str(number))))
            wait_until(lambda: blocked(database) == len(waiting), message="the next one in the queue")
        unrelated = Writer(database)
        unrelated.write("unrelated")
        unrelated.commit()
        place(database)
        go.set()
        for future in (holder, *waiting):
            future.result(60)
    place(database)
    told = [pb.Event.FromString(event.message) for event in read(database)]
    names = [event.compute_plan.name for event in told if event.asset_key == key]
    assert sorted(names) == ["0", "1", "2", "3", "4"]
    assert names[:2] == ["0", "1"]
    assert [event.timestamp.ToNanoseconds() for event in told if event.asset_key == key] == sorted(
        event.timestamp.ToNanoseconds() for event in told if event.asset_key == key
    )
    last = database.run("org-1", "ours", lambda t: plans.get(t, pb.GetComputePlanParam(key=key)))
    assert last.name == names[-1]


def holds_a_row(database: Database) -> bool:
    """Tell whether a session sits in a transaction that has written."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND state = 'idle in transaction' AND backend_xid IS NOT NULL"
    )
    with database.engine.begin() as connection:
        return bool(connection.execute(text(query)).scalar_one())


def test_a_second_sequencer_waits_and_goes_on_after_the_first(database: Database):
    writer = Writer(database)
    writer.write("a1", "a2")
    writer.commit()
    with ThreadPoolExecutor() as threads:
        connection = database.engine.connect()
        transaction = connection.begin()
        assert places.place(connection, 1000) == 2
        second = threads.submit(place, database)
        wait_until(lambda: blocked(database), message="the second sequencer behind the first")
        late = Writer(database)
        late.write("b")
        late.commit()
        assert read(database) == []
        transaction.commit()
        connection.close()
        assert second.result(60) == 1
    assert order(database) == ["a1", "a2", "b"]


def test_a_sequencer_that_dies_gives_no_place(database: Database):
    writer = Writer(database)
    writer.write("a1", "a2")
    writer.commit()
    connection = database.engine.connect()
    connection.begin()
    places.place(connection, 1000)
    pid = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with psycopg.connect(database.url, autocommit=True) as killer:
        killer.execute("SELECT pg_terminate_backend(%s)", [pid])
    connection.invalidate()
    connection.close()
    assert place(database) == 2
    assert order(database) == ["a1", "a2"]


actions = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 3), st.integers(1, 4)),
    st.tuples(st.just("commit"), st.integers(0, 3), st.just(0)),
    st.tuples(st.just("roll back"), st.integers(0, 3), st.just(0)),
    st.tuples(st.just("place"), st.just(0), st.integers(1, 6)),
    st.tuples(st.just("read"), st.integers(0, 2), st.integers(1, 5)),
)


@given(st.lists(actions, max_size=40))
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_schedule_keeps_the_order(database: Database, schedule: list[tuple[str, int, int]]):
    forget_events(database)
    channels = ("ours", "theirs")
    writing: dict[int, Writer] = {}
    wrote_at: dict[str, int] = {}
    committed: list[tuple[list[str], int, int]] = []
    heard: list[list[Any]] = [[], [], []]

    def check_reader(number: int, limit: int) -> None:
        seen = heard[number]
        channel = (*channels, None)[number]
        seen += read(database, seen[-1].position if seen else 0, limit, channel)

    for moment, (action, number, amount) in enumerate(schedule):
        writer = writing.get(number)
        if action == "write" and writer is None:
            writing[number] = Writer(database, channels[number % 2])
            writing[number].write(*(f"{moment}.{part}" for part in range(amount)))
            wrote_at[f"{moment}.0"] = moment
        elif action == "commit" and writer is not None:
            writing.pop(number).commit()
            committed.append((writer.names, wrote_at[writer.names[0]], moment))
        elif action == "roll back" and writer is not None:
            writing.pop(number).roll_back()
        elif action == "place":
            place(database, amount)
        elif action == "read":
            check_reader(number, amount)
    for writer in writing.values():
        writer.roll_back()
    while place(database, 3):
        pass
    for number, seen in enumerate(heard):
        while len(seen) < len(read(database, 0, channel=(*channels, None)[number])):
            check_reader(number, 4)
        assert seen == read(database, 0, channel=(*channels, None)[number]), "a reader saw another order"
    whole = heard[2]
    assert [event.position for event in whole] == list(range(1, len(whole) + 1))
    index = {name: place for place, name in enumerate(names_of(whole))}
    assert set(index) == {name for names, _, _ in committed for name in names}
    for names, _, _ in committed:
        assert [index[name] for name in names] == list(range(index[names[0]], index[names[0]] + len(names)))
    for names, _, done in committed:
        for later, began, _ in committed:
            if done < began:
                assert index[names[-1]] < index[later[0]], f"{names} was committed before {later} was written"


def test_many_writers_two_sequencers_and_readers_that_resume(database: Database):
    """Everything at once: what each reader hears is the order in the end, and each writer's calls keep theirs."""
    stop = Event()

    def write(writer: int) -> list[list[str]]:
        chance = random.Random(writer)
        calls = []
        for turn in range(25):
            names = [f"{writer}.{turn}.{part}" for part in range(chance.choice((1, 2, 3, 40)))]

            def use_case(transaction: Transaction, names: list[str] = names) -> None:
                tell(transaction, *names)
                if chance.random() < 0.2:
                    transaction.flush()
                    raise NotFoundError("rolled back")

            try:
                database.run("org-1", "ours", use_case)
            except NotFoundError:
                continue
            calls.append(names)
        return calls

    def sequence(limit: int) -> None:
        while not stop.is_set():
            place(database, limit)

    def follow(seed: int) -> list[Any]:
        chance = random.Random(seed)
        heard: list[Any] = []
        while not stop.is_set() or read(database, heard[-1].position if heard else 0, 1):
            heard += read(database, heard[-1].position if heard else 0, chance.choice((1, 7, 100)))
            if heard and chance.random() < 0.2:
                back = chance.randrange(len(heard))
                again = read(database, heard[back].position, len(heard))
                assert again[: len(heard) - back - 1] == heard[back + 1 :], "an event moved"
        return heard

    with ThreadPoolExecutor(12) as threads:
        sequencers = [threads.submit(sequence, limit) for limit in (3, 1000)]
        readers: list[Future[list[Any]]] = [threads.submit(follow, seed) for seed in range(2)]
        writers = [threads.submit(write, number) for number in range(6)]
        written = [writer.result(60) for writer in writers]
        total = sum(len(names) for calls in written for names in calls)
        wait_until(lambda: len(read(database)) == total, timeout=30, message="every event in its place")
        stop.set()
        for sequencer in sequencers:
            sequencer.result(60)
        heard = [reader.result(30) for reader in readers]
    whole = read(database)
    assert [event.position for event in whole] == list(range(1, total + 1))
    assert all(each == whole for each in heard)
    index = {name: place for place, name in enumerate(names_of(whole))}
    for calls in written:
        flat = [index[name] for names in calls for name in names]
        assert flat == sorted(flat)
        for names in calls:
            assert index[names[-1]] - index[names[0]] == len(names) - 1, "the events of a call are no neighbours"
