"""an attempt that ends writes no index.

Revision: 0029, after 0028. The first part of an expanding half: what runs, and whose end is to be counted or to be
acknowledged, is found by `unsettled`, and what is old by when it was claimed. A trigger has the attempts of the release
before in it, too.
"""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None
serves_from = "0026"

# What a release that knows this table has written is in it already.
_BEGUN = """
    CREATE FUNCTION attempts_begun() RETURNS trigger LANGUAGE plpgsql AS $body$
    BEGIN
        INSERT INTO unsettled (task_key, number)
        SELECT task_key, number FROM fresh
        WHERE NOT EXISTS (SELECT FROM unsettled
                          WHERE unsettled.task_key = fresh.task_key AND unsettled.number = fresh.number);
        RETURN NULL;
    END
    $body$
"""
_TRIGGER = """
    CREATE TRIGGER attempts_begun AFTER INSERT ON attempts REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION attempts_begun()
"""


def unsettled_follows() -> None:
    """Have what this release reads follow what the one before writes."""
    op.execute(_BEGUN)
    op.execute(_TRIGGER)


def upgrade() -> None:
    op.create_table(
        "unsettled",
        sa.Column("task_key", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
    )
    # Nobody begins an attempt from here to the end.
    unsettled_follows()
    # Those that ended before the last count are counted.
    op.execute("""
        INSERT INTO unsettled (task_key, number)
        SELECT task_key, number FROM attempts WHERE ended_at IS NULL
        UNION
        SELECT task_key, number FROM attempts
        WHERE ended_at > coalesce((SELECT to_timestamp(seconds) FROM totals WHERE name = 'counted'), now())
        UNION
        SELECT task_key, number FROM attempts WHERE outcome IN (5, 6) AND stopped_at IS NULL
    """)
    op.execute("ALTER TABLE attempts SET (fillfactor = 50)")
    op.create_index("attempts_claimed", "attempts", ["claimed_at"])


def downgrade() -> None:
    op.drop_index("attempts_claimed", table_name="attempts")
    op.execute("ALTER TABLE attempts RESET (fillfactor)")
    op.execute("DROP TRIGGER attempts_begun ON attempts")
    op.execute("DROP FUNCTION attempts_begun()")
    op.drop_table("unsettled")
