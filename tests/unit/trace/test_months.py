"""The bounds of a month are those of the ids of its events."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.trace.event_ids import lowest_id, new_ids, time_of
from orchestrator.trace.partitions import Month

moments = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


@given(moments, st.integers(1, 50))
def test_the_ids_of_a_month_lie_between_its_bounds(now: datetime, count: int):
    month = Month.of(now)
    low, high = month.ids
    assert month.begin <= now < month.next.begin
    assert all(low <= each < high for each in new_ids(now, count))
    assert high == month.next.ids[0]


@given(moments, moments)
def test_ids_are_ordered_as_their_months(one: datetime, other: datetime):
    first, second = Month.of(one), Month.of(other)
    assert (first.begin < second.begin) == (first.ids[1] <= second.ids[0])
    assert (first == second) == ((one.year, one.month) == (other.year, other.month))


# UUIDv7 knows no time before 1970, and the test looks a millisecond back.
@given(moments.map(lambda moment: moment + timedelta(milliseconds=1)))
def test_an_id_tells_its_millisecond(now: datetime):
    (each,) = new_ids(now, 1)
    assert timedelta(0) <= now - time_of(each) < timedelta(milliseconds=1)
    assert lowest_id(now) <= each
    assert new_ids(now - timedelta(milliseconds=1), 1)[0] < lowest_id(now)


@given(moments, st.integers(-12, 14))
def test_a_month_is_that_of_the_same_moment_anywhere(now: datetime, hours: int):
    assert Month.of(now.astimezone(timezone(timedelta(hours=hours)))) == Month.of(now)
