"""The message of an event without its snapshot."""

import uuid
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator.trace import events


@pytest.mark.parametrize(
    "moment",
    [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 11, 27, 12, 34, 56, 789_012, tzinfo=UTC),
        datetime(2026, 11, 27, 12, 34, 56, 1, tzinfo=timezone(timedelta(hours=-9, minutes=-30))),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    ],
)
def test_the_time_is_that_of_the_row_to_the_microsecond(moment: datetime):
    row = SimpleNamespace(
        id=uuid.uuid4(), asset_key="a", asset_kind=6, kind=2, channel="ours", created_at=moment, metadata=None
    )
    expected = Timestamp()
    expected.FromDatetime(moment)
    assert events.header(row).timestamp == expected
