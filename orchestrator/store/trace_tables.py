"""The tables of the trace: what was told, in which order, who follows it, and what is forgotten of it."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()

events = Table(
    "events",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("sequence", BigInteger, Identity(always=True), nullable=False),
    Column("channel", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("asset_kind", SmallInteger, nullable=False),
    Column("asset_key", Text, nullable=False),
    Column("asset", LargeBinary, nullable=False),
    Column("metadata", JSONB),
    Index("events_page", "channel", "created_at", "id"),
    Index(
        "events_asset",
        text("hashtextextended(asset_key, 0)"),
        "created_at",
        "id",
        postgresql_with={"deduplicate_items": "off"},
    ),
    postgresql_partition_by="RANGE (id)",
)
"""What was told: a row is written once and never changed. `sequence` is drawn when a call writes its events, which
share it. The partitions are made by `trace.partitions`. An asset's events are found by a number that stands for its key
(`trace.events.of_asset`), so that what an event writes to the index is narrow."""

unplaced = Table(
    "unplaced",
    metadata,
    Column("sequence", BigInteger, nullable=False),
    Column("channel", Text, nullable=False),
    Column("event", Uuid, nullable=False),
)
"""The events that have no place yet: written with them, and taken out when they get one. They are few: an index would
only cost."""

places = Table(
    "places",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("channel", Text, nullable=False),
    Column("event", Uuid, nullable=False),
    UniqueConstraint("event", name="places_event"),
)
"""The order of readers: the place of each event, given after its commit by `trace.places.place`. A row is never
changed; it goes when its event is forgotten."""

subscriptions = Table(
    "subscriptions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("organization", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("seen_at", DateTime(timezone=True), nullable=False),
)
"""The event streams: up to which place each was sent all of its channel, and when that was noted last."""

forgotten = Table(
    "forgotten",
    metadata,
    Column("channel", Text, primary_key=True),
    Column("event_id", Uuid, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("until", DateTime(timezone=True), nullable=False),
)
"""The last event of each channel that was forgotten, for its age, with all before it; `until` is the latest time that
any of them bears."""
