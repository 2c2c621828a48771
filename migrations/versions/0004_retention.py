"""events by month, how far subscribers are, and what was forgotten.

Revision: 0004, after 0003.

No event is moved: the table of old becomes the first partition, up to the end of the month of its last event or of
today, and of the next one where that is near: the sweep must have time to make the next partition.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_COLUMNS = "id, sequence, position, channel, created_at, kind, asset_kind, asset_key, asset, metadata"
_NAMES = ("events_pkey", "events_asset", "events_page", "events_unplaced")


def _create_events(**options: Any) -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("asset_kind", sa.SmallInteger(), nullable=False),
        sa.Column("asset_key", sa.Text(), nullable=False),
        sa.Column("asset", sa.LargeBinary(), nullable=False),
        sa.Column("metadata", sa.dialects.postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        **options,
    )


def _create_indexes(unique: bool) -> None:
    op.create_index("events_asset", "events", ["channel", "asset_key", "created_at", "id"], unique=False)
    op.create_index("events_page", "events", ["channel", "created_at", "id"], unique=False)
    op.create_index(
        "events_position", "events", ["position"], unique=unique, postgresql_where=sa.text("position IS NOT NULL")
    )
    op.create_index(
        "events_unplaced", "events", ["sequence"], unique=False, postgresql_where=sa.text("position IS NULL")
    )


def _next_sequence() -> int:
    return int(op.get_bind().execute(sa.text("SELECT nextval('events_sequence_seq')")).scalar_one())


def _continue_at(sequence: int) -> None:
    op.get_bind().execute(sa.text("SELECT setval('events_sequence_seq', :next, false)"), {"next": sequence})


def _month_after_all() -> UUID:
    last = op.get_bind().execute(sa.text("SELECT id FROM events ORDER BY id DESC LIMIT 1")).scalar_one_or_none()
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    newest = epoch + timedelta(milliseconds=last.int >> 80) if last else epoch
    latest = max(newest, datetime.now(UTC)) + timedelta(days=7)
    month = (latest.replace(day=1, hour=0, minute=0, second=0, microsecond=0) + timedelta(days=31)).replace(day=1)
    return UUID(int=(month - epoch) // timedelta(milliseconds=1) << 80)


def upgrade() -> None:
    op.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
    end, sequence = _month_after_all(), _next_sequence()
    op.execute("ALTER TABLE events ALTER COLUMN sequence DROP IDENTITY")
    op.execute("ALTER TABLE events RENAME TO events_first")
    op.execute("DROP INDEX events_position")
    for name in _NAMES:
        op.execute(f"ALTER INDEX {name} RENAME TO {name.replace('events', 'events_first')}")
    _create_events(postgresql_partition_by="RANGE (id)")
    _continue_at(sequence)
    _create_indexes(unique=False)
    op.execute(f"ALTER TABLE events ATTACH PARTITION events_first FOR VALUES FROM (MINVALUE) TO ('{end}')")
    op.execute("CREATE TABLE events_default PARTITION OF events DEFAULT")
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("organization", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "forgotten",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("channel"),
    )
    op.create_index(
        "attempts_ended", "attempts", ["ended_at"], unique=False, postgresql_where=sa.text("ended_at IS NOT NULL")
    )


def downgrade() -> None:
    op.drop_index("attempts_ended", table_name="attempts", postgresql_where=sa.text("ended_at IS NOT NULL"))
    op.drop_table("forgotten")
    op.drop_table("subscriptions")
    op.execute("LOCK TABLE events IN ACCESS EXCLUSIVE MODE")
    sequence = _next_sequence()
    op.execute("ALTER TABLE events ALTER COLUMN sequence DROP IDENTITY")
    op.execute("ALTER TABLE events RENAME TO events_by_month")
    for name in (*_NAMES, "events_position"):
        op.execute(f"ALTER INDEX {name} RENAME TO {name.replace('events', 'events_by_month')}")
    _create_events()
    op.execute(
        f"INSERT INTO events ({_COLUMNS}) OVERRIDING SYSTEM VALUE SELECT {_COLUMNS} FROM events_by_month"  # noqa: S608
    )
    _continue_at(sequence)
    _create_indexes(unique=True)
    op.drop_table("events_by_month")
