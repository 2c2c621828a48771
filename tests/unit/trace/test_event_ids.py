from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.trace.event_ids import new_ids, time_of

moments = st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


@given(moments, st.integers(0, 200))
def test_ids_of_one_call_ascend_and_are_version_7(now, count):
    ids = new_ids(now, count)
    assert len(set(ids)) == count
    assert sorted(ids) == ids
    assert all(id.version == 7 and id.variant == "specified in RFC 4122" for id in ids)


@given(moments)
def test_ids_of_a_later_millisecond_are_greater(now):
    assert max(new_ids(now, 5)) < min(new_ids(now + timedelta(milliseconds=1), 5))


def test_ids_ascend_over_every_boundary_of_the_ordinal():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    ids = new_ids(now, 2**20 + 2)
    assert ids[2**20 - 1] < ids[2**20] < ids[2**20 + 1]


@given(st.uuids())
def test_an_id_of_another_making_has_a_time_too(drawn):
    assert time_of(drawn) <= datetime(9999, 12, 31, tzinfo=UTC)
