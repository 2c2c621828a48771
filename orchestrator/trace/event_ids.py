"""Ids of events: UUIDs of version 7 (RFC 9562) whose order within one call is the order of its events."""

import os
import struct
from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MOST = (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // _MILLISECOND
_VERSION = 0x7 << 12
_VARIANT = 0x2 << 62


def new_ids(now: datetime, count: int, first: int = 0) -> list[UUID]:
    """Return ids that ascend.

    Args:
        now: the time of the call.
        count: how many ids; a call may have up to 2^32 events.
        first: how many the call has had before.
    """
    milliseconds = (now - _EPOCH) // _MILLISECOND
    noise = os.urandom(4 * count)
    ids = []
    for ordinal, (random,) in enumerate(struct.iter_unpack("!I", noise), first):
        # The ordinal fills the 12 bits after the version and the 20 after the variant, then 42 bits of chance:
        # 32 from the noise of each event, 10 from its microsecond.
        high = milliseconds << 16 | _VERSION | (ordinal >> 20) & 0xFFF
        low = _VARIANT | (ordinal & 0xFFFFF) << 42 | random << 10 | now.microsecond % 1000
        ids.append(UUID(int=high << 64 | low))
    return ids


SQL = """
    CAST(CAST(:event_high AS text)
         || to_hex((-9223372036854775807 - 1) | ((ordinal & 1048575) << 42)
                   | (CAST(floor(random() * 4294967296) AS bigint) << 10) | CAST(:event_low AS bigint)) AS uuid)
"""
"""The same in a statement, for a row whose `ordinal` is a bigint; up to 2^20 rows."""


def sql_parameters(now: datetime) -> dict[str, object]:
    """Return the parameters of `SQL`."""
    milliseconds = (now - _EPOCH) // _MILLISECOND
    return {"event_high": f"{milliseconds << 16 | _VERSION:016x}", "event_low": now.microsecond % 1000}


def lowest_id(moment: datetime) -> UUID:
    """Return what no id of this moment or later is below, and all ids of earlier milliseconds are."""
    return UUID(int=(moment - _EPOCH) // _MILLISECOND << 80)


def time_of(event_id: UUID) -> datetime:
    """Return the millisecond of an id; of one that another server made by chance, any moment up to the last of 9999."""
    return _EPOCH + min(event_id.int >> 80, _MOST) * _MILLISECOND
