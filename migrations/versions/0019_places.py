"""the order of readers as a table that is only ever inserted into.

Revision: 0019, after 0018. The first part of an expanding half: places move from `events.position` to `places`, and
what has no place yet is in `unplaced`. As long as both ways are there each follows the other, so that sequencers of
both releases, of which a lock lets one work at a time, go on in one order. The places of old follow with 0020.
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None
serves_from = "0018"

# What a release that knows this table has written is in one of the two already.
_WRITTEN = """
    CREATE FUNCTION events_written() RETURNS trigger LANGUAGE plpgsql AS $body$
    BEGIN
        INSERT INTO places (position, channel, event)
        SELECT position, channel, id FROM fresh
        WHERE position IS NOT NULL AND NOT EXISTS (SELECT FROM places WHERE event = id);
        INSERT INTO unplaced (sequence, channel, event)
        SELECT sequence, channel, id FROM fresh
        WHERE position IS NULL
          AND NOT EXISTS (SELECT FROM unplaced WHERE event = id) AND NOT EXISTS (SELECT FROM places WHERE event = id);
        RETURN NULL;
    END
    $body$
"""
_PLACED_OF_OLD = """
    CREATE FUNCTION events_placed() RETURNS trigger LANGUAGE plpgsql AS $body$
    BEGIN
        INSERT INTO places (position, channel, event)
        SELECT position, channel, id FROM fresh
        WHERE position IS NOT NULL AND NOT EXISTS (SELECT FROM places WHERE event = id);
        DELETE FROM unplaced USING fresh WHERE event = id AND position IS NOT NULL;
        RETURN NULL;
    END
    $body$
"""
_PLACED = """
    CREATE FUNCTION places_written() RETURNS trigger LANGUAGE plpgsql AS $body$
    BEGIN
        UPDATE events SET position = fresh.position FROM fresh WHERE id = event AND events.position IS NULL;
        RETURN NULL;
    END
    $body$
"""
_TRIGGER = """
    CREATE TRIGGER {name} AFTER {when} ON {table} REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION {name}()
"""


def events_follow() -> None:
    """Have what this release reads follow what the one before writes."""
    op.execute(_WRITTEN)
    op.execute(_PLACED_OF_OLD)
    op.execute(_TRIGGER.format(name="events_written", when="INSERT", table="events"))
    op.execute(_TRIGGER.format(name="events_placed", when="UPDATE", table="events"))


def places_follow() -> None:
    """Have what the release before reads follow what this one writes."""
    op.execute(_PLACED)
    op.execute(_TRIGGER.format(name="places_written", when="INSERT", table="places"))


def upgrade() -> None:
    op.create_table(
        "unplaced",
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("event", sa.Uuid(), nullable=False),
    )
    op.create_table(
        "places",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("event", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("position"),
        sa.UniqueConstraint("event", name="places_event"),
    )
    # Nobody writes an event from here to the end.
    events_follow()
    places_follow()
    op.execute("""
        INSERT INTO unplaced (sequence, channel, event) SELECT sequence, channel, id FROM events WHERE position IS NULL
    """)


def downgrade() -> None:
    op.execute("DROP TRIGGER events_written ON events")
    op.execute("DROP TRIGGER events_placed ON events")
    op.drop_table("places")
    op.drop_table("unplaced")
    for name in ("events_written", "events_placed", "places_written"):
        op.execute(f"DROP FUNCTION {name}()")
