from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.executions.tasks.gangs import Gang, Room, hopeless, let_in

BEGAN = datetime(2026, 11, 27, tzinfo=UTC)
A, B, C = "org.a", "org.b", "org.c"


def gang(number, wants, plan=None, needs=None):
    since = BEGAN + timedelta(seconds=number)
    return Gang(UUID(int=number), UUID(int=plan or number), wants, needs or wants, since)


def numbers(found):
    return [gate.int for gate in found]


def test_a_gang_starts_where_all_its_queues_have_room():
    assert numbers(let_in([gang(1, {A: 1, B: 2})], Room({A: 1, B: 2}), ())) == [1]
    assert numbers(let_in([gang(1, {A: 1, B: 2})], Room({A: 1, B: 1}), ())) == []
    assert numbers(let_in([gang(1, {A: 1, B: 1})], Room({A: 1}), ())) == []


def test_of_two_that_need_the_same_slot_the_elder_starts():
    both = [gang(1, {A: 1, B: 1}), gang(2, {A: 1, C: 1})]
    assert numbers(let_in(both, Room({A: 1, B: 1, C: 1}), ())) == [1]
    assert numbers(let_in(both, Room({A: 2, B: 1, C: 1}), ())) == [1, 2]


def test_who_came_later_takes_nothing_from_who_could_start_one_day():
    both = [gang(1, {A: 1, B: 1}), gang(2, {A: 1})]
    busy = {B: {UUID(int=9): 1}}
    assert numbers(let_in(both, Room({A: 1, B: 1}, busy=busy), ())) == []
    # Nobody reads B: it may never be.
    assert numbers(let_in(both, Room({A: 1}), ())) == [2]


def test_a_run_that_was_let_in_keeps_the_room_of_its_later_gangs():
    inside = UUID(int=7)
    room = Room({A: 1, B: 1}, held={inside: {A: 1, B: 1}})
    assert numbers(let_in([gang(1, {A: 1})], room, ())) == []
    assert numbers(let_in([gang(2, {A: 1, B: 1}, plan=7)], room, ())) == [2]
    assert numbers(let_in([gang(1, {A: 1}), gang(2, {A: 1, B: 1}, plan=7)], room, ())) == [2]


def test_who_waits_long_waits_for_gangs_alone():
    room = Room({A: 1}, busy={A: {UUID(int=9): 5}})
    assert numbers(let_in([gang(1, {A: 1})], room, ())) == []
    assert numbers(let_in([gang(1, {A: 1})], room, {UUID(int=1)})) == [1]
    held = Room({A: 1}, held={UUID(int=9): {A: 1}}, busy={A: {UUID(int=9): 1}})
    assert numbers(let_in([gang(1, {A: 1})], held, {UUID(int=1)})) == []


def test_what_can_never_start_says_why():
    assert hopeless(gang(1, {A: 2, B: 1}), Room({A: 1, B: None})) == (
        "2 containers must run side by side at org.a, and its workers have 1 slots"
    )
    assert hopeless(gang(1, {A: 1}), Room({})) == "1 containers must run side by side at org.a, and no worker reads it"
    assert hopeless(gang(1, {A: 1}), Room({A: 1})) == ""


_WANTS = st.dictionaries(st.sampled_from([A, B, C]), st.integers(1, 3), min_size=1)


@given(
    st.lists(_WANTS, max_size=6),
    st.lists(_WANTS, max_size=3),
    st.dictionaries(st.sampled_from([A, B, C]), st.integers(0, 5)),
)
def test_runs_never_hold_more_than_there_is_and_the_first_that_fits_starts(wanted, inside, slots):
    held = {}
    for number, kept in enumerate(inside, 100):
        fits = all(sum(each.get(q, 0) for each in held.values()) + n <= slots.get(q, 0) for q, n in kept.items())
        if fits:
            held[UUID(int=number)] = kept
    waiting = [gang(number, wants) for number, wants in enumerate(wanted, 1)]
    found = let_in(waiting, Room(slots, held), {each.gate for each in waiting})
    started = [each.needs for each in waiting if each.gate in found]
    for queue in (A, B, C):
        taken = sum(each.get(queue, 0) for each in [*held.values(), *started])
        assert taken <= max(slots.get(queue, 0), sum(each.get(queue, 0) for each in held.values()))
    possible = [each for each in waiting if not hopeless(each, Room(slots))]
    if possible and not held:
        assert possible[0].gate in found
