"""The envelope of an event: what its message says around the snapshot, which goes out as it was stored.

Each replay makes it for each event again, so only what differs from event to event is written anew.
"""

import json
from datetime import datetime
from functools import lru_cache

from orchestrator import protos as pb
from orchestrator.core import wire
from orchestrator.store.connection import Row
from orchestrator.trace import events

_FIELDS = pb.Event.DESCRIPTOR.fields_by_name
_ID, _KEY, _TIME = (_FIELDS[name].number for name in ("id", "asset_key", "timestamp"))
_NUMBER_OF_KIND = {kind: _FIELDS[name].number for kind, name in events.FIELD_OF_KIND.items()}

# Of the most that one call, or a busy second, brings at once.
_KEPT = 1024

COLUMNS = """
    CAST(events.id AS text) AS id, events.channel, kind, asset_kind, asset_key, asset,
    CAST(metadata AS text) AS metadata, created_at
"""
"""What `serialized` takes of the table `events`."""


def serialized(row: Row) -> bytes:
    """Return an event of a kind that the contract knows as the bytes of its message.

    Args:
        row: with `COLUMNS`.
    """
    return b"".join(
        (
            wire.field(_ID, row.id.encode()),
            wire.field(_KEY, row.asset_key.encode()),
            _shared(row.channel, row.kind, row.asset_kind, row.metadata),
            _time(row.created_at),
            wire.field(_NUMBER_OF_KIND[row.asset_kind], row.asset),
        )
    )


@lru_cache(_KEPT)
def _shared(
    channel: str, kind: "pb.EventKind.ValueType", asset_kind: "pb.AssetKind.ValueType", metadata: str | None
) -> bytes:
    event = pb.Event(
        channel=channel, event_kind=kind, asset_kind=asset_kind, metadata=json.loads(metadata) if metadata else {}
    )
    return event.SerializeToString()


@lru_cache(_KEPT)
def _time(moment: datetime) -> bytes:
    event = pb.Event()
    event.timestamp.FromDatetime(moment)
    return event.SerializeToString()
