"""Times of the database as the contract writes them."""

from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp


def timestamp(moment: datetime) -> Timestamp:
    """Return a moment, in microseconds at the finest, as a Timestamp."""
    converted = Timestamp()
    converted.FromDatetime(moment)
    return converted


def duration(length: timedelta) -> Duration:
    """Return a length of time as a Duration."""
    converted = Duration()
    converted.FromTimedelta(length)
    return converted
