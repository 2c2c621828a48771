"""partitions of events are made by functions of the tables' owner, so that who serves needs none; totals for metrics.

Revision: 0014, after 0012.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0012"
branch_labels = None
depends_on = None
serves_from = "0011"

_NAMES = "events_hold()", "events_make(text, uuid, uuid)", "events_drop(text)"

# Each does one thing, to partitions of events alone; whoever calls it has no say in what a name means.
_MAKE = r"""
    DO $do$
    DECLARE
        here constant text := quote_ident(current_schema());
        safe constant text := 'LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp';
    BEGIN
        EXECUTE format($$
            CREATE FUNCTION %1$s.events_hold() RETURNS void %2$s AS $body$
            BEGIN
                LOCK TABLE ONLY %1$s.events IN ACCESS EXCLUSIVE MODE;
            END $body$ $$, here, safe);
        EXECUTE format($$
            CREATE FUNCTION %1$s.events_make(name text, low uuid, high uuid) RETURNS void %2$s AS $body$
            BEGIN
                IF name !~ '^events_[0-9]{4}_[0-9]{2}$' THEN
                    RAISE EXCEPTION 'no name of a month: %%', name;
                END IF;
                EXECUTE format('CREATE TABLE %1$s.%%I PARTITION OF %1$s.events FOR VALUES FROM (%%L) TO (%%L)',
                               name, low, high);
            END $body$ $$, here, safe);
        EXECUTE format($$
            CREATE FUNCTION %1$s.events_drop(name text) RETURNS void %2$s AS $body$
            BEGIN
                IF name = 'events_default' OR NOT EXISTS (
                    SELECT FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
                    WHERE inhparent = CAST('%1$s.events' AS regclass) AND relname = name) THEN
                    RAISE EXCEPTION 'no month of events: %%', name;
                END IF;
                EXECUTE format('DROP TABLE %1$s.%%I', name);
            END $body$ $$, here, safe);
    END $do$
"""


def upgrade() -> None:
    # It has percent signs of its own, and no parameters.
    op.get_bind().exec_driver_sql(_MAKE.replace("%", "%%"))
    for name in _NAMES:
        op.execute(f"REVOKE EXECUTE ON FUNCTION {name} FROM PUBLIC")
    op.create_table(
        "totals",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("organization", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("name", "organization", "label"),
    )


def downgrade() -> None:
    op.drop_table("totals")
    for name in _NAMES:
        op.execute(f"DROP FUNCTION {name}")
