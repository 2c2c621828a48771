"""Times of the database as the contract writes them."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp


def timestamp(moment: datetime) -> Timestamp:
    """Return a moment, in microseconds at the finest, as a Timestamp."""
    converted = Timestamp()
    converted.FromDatetime(moment)
    return converted
