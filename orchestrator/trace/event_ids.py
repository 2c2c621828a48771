"""Ids of events: UUIDs of version 7 (RFC 9562) whose order within one call is the order of its events."""

import os
import struct
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MOST = (datetime(9999, 12, 31, tzinfo=UTC) - _EPOCH) // _MILLISECOND
_VERSION = 0x7 << 12
_VARIANT = 0x2 << 62
_HALVES = struct.Struct("!QQ").pack


def new_ids(now: datetime, count: int) -> list[UUID]:
    """Return ids that ascend.

    Args:
        now: the time of the call.
        count: how many ids.
    """
    return [UUID(bytes=each) for each in packed_ids(now, range(count))]


def packed_ids(now: datetime, ordinals: Sequence[int]) -> list[bytes]:
    """Return the ids of events, each as its 16 bytes.

    Args:
        now: the time of the call.
        ordinals: of the events in the call, from 0; it may have up to 2^32.
    """
    high = (now - _EPOCH) // _MILLISECOND << 16 | _VERSION
    low = _VARIANT | now.microsecond % 1000
    noise = struct.iter_unpack("!I", os.urandom(4 * len(ordinals)))
    # The ordinal fills the 12 bits after the version and the 20 after the variant, then 42 bits of chance: 32 from the
    # noise of each event, 10 from its microsecond.
    return [
        _HALVES(high | (ordinal >> 20) & 0xFFF, low | (ordinal & 0xFFFFF) << 42 | random << 10)
        for ordinal, (random,) in zip(ordinals, noise, strict=True)
    ]


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
