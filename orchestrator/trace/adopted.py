"""Events that another server has placed: kept under its ids, in its order, so that who followed it goes on here."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.types.json import Jsonb

from orchestrator import protos as pb
from orchestrator.store.connection import Connection
from orchestrator.store.statements import statement
from orchestrator.trace.events import FIELD_OF_KIND
from orchestrator.trace.places import LOCK


@dataclass(frozen=True)
class Last:
    """What a channel's trace ends with.

    Args:
        event: the newest of its events that have a place, None without one.
        placed: whether all of its events have one.
    """

    event: UUID | None
    placed: bool


_LAST = statement("""
    SELECT (SELECT event FROM places WHERE channel = :channel ORDER BY position DESC LIMIT 1) AS event,
           NOT EXISTS (SELECT FROM unplaced WHERE channel = :channel) AS placed
""")


def last(connection: Connection, channel: str) -> Last:
    """Return what a channel's trace ends with."""
    row = connection.execute(_LAST, {"channel": channel}).one()
    return Last(row.event, row.placed)


_KNOWN = statement("SELECT count(*) FROM events WHERE id = :id AND channel = :channel")


def known(connection: Connection, channel: str, event: UUID) -> bool:
    """Tell whether a channel has an event."""
    return bool(connection.execute(_KNOWN, {"id": event, "channel": channel}).scalar_one())


# Places go on from the last one, the numbers of calls too: an audit reads an asset's events by them.
_KEEP = statement("""
    WITH adopted AS (
             SELECT id, ordinal, created_at, kind, asset_kind, asset_key, asset, metadata
             FROM unnest(CAST(:ids AS uuid[]), CAST(:times AS timestamptz[]), CAST(:kinds AS smallint[]),
                         CAST(:asset_kinds AS smallint[]), CAST(:asset_keys AS text[]), CAST(:assets AS bytea[]),
                         CAST(:metadata AS jsonb[])) WITH ORDINALITY
                  AS event (id, created_at, kind, asset_kind, asset_key, asset, metadata, ordinal)
         ),
         event AS (
             INSERT INTO events (id, sequence, channel, created_at, kind, asset_kind, asset_key, asset, metadata)
             OVERRIDING SYSTEM VALUE
             SELECT id, nextval('events_sequence_seq'), :channel, created_at, kind, asset_kind, asset_key, asset,
                    metadata
             FROM (SELECT id, created_at, kind, asset_kind, asset_key, asset, metadata
                   FROM adopted ORDER BY ordinal) AS ordered
         )
    INSERT INTO places (position, channel, event)
    SELECT greatest((SELECT max(position) FROM places), (SELECT max(position) FROM forgotten), 0) + ordinal, :channel,
           id
    FROM adopted
""")


def keep(connection: Connection, channel: str, adopted: Sequence[pb.Event], times: Collection[datetime]) -> None:
    """Keep events of another server, in their order, after all that are placed here.

    Args:
        connection: inside a transaction.
        channel: whose events.
        adopted: those; each bears a snapshot.
        times: theirs.
    """
    connection.execute(LOCK)
    connection.execute(
        _KEEP,
        {
            "channel": channel,
            "ids": [UUID(event.id) for event in adopted],
            "times": list(times),
            "kinds": [event.event_kind for event in adopted],
            "asset_kinds": [event.asset_kind for event in adopted],
            "asset_keys": [event.asset_key for event in adopted],
            "assets": [getattr(event, FIELD_OF_KIND[event.asset_kind]).SerializeToString() for event in adopted],
            "metadata": [Jsonb(dict(event.metadata)) if event.metadata else None for event in adopted],
        },
    )
