"""a poke that is sent writes no index, and a claim nothing of it.

Revision: 0030, after 0029. The second part of the expanding half: what is to be sent is in `unsent_pokes`, and what
announces an attempt, once it is sent, in `sent_pokes`. Triggers have the pokes of the release before follow: what it
writes, sends, has sent again, and drops. What this one does it sees by `outbox.sent_at`, which is written as before.
"""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None
serves_from = "0026"

# What a release that knows these tables has done is in them already.
_MISSING = """
        INSERT INTO unsent_pokes (id, queue, priority, message)
        SELECT id, queue, priority, message FROM fresh
        WHERE sent_at IS NULL
          AND NOT EXISTS (SELECT FROM unsent_pokes AS unsent
                          WHERE unsent.queue = fresh.queue AND unsent.priority = fresh.priority
                            AND unsent.id = fresh.id);
        INSERT INTO sent_pokes (id, queue, priority, key, attempt, sent_at)
        SELECT id, queue, priority, key, attempt, sent_at FROM fresh
        WHERE sent_at IS NOT NULL AND message = 'task.run' AND claimed_at IS NULL
          AND NOT EXISTS (SELECT FROM sent_pokes AS out
                          WHERE out.queue = fresh.queue AND out.sent_at = fresh.sent_at AND out.id = fresh.id);
"""
_LEFT = """
        DELETE FROM unsent_pokes AS unsent USING stale
        WHERE unsent.queue = stale.queue AND unsent.priority = stale.priority AND unsent.id = stale.id
          AND stale.sent_at IS NULL{still_unsent};
        DELETE FROM sent_pokes AS out USING stale
        WHERE out.queue = stale.queue AND out.sent_at = stale.sent_at AND out.id = stale.id{still_sent};
"""
_MOVED = _LEFT.format(
    still_unsent=" AND NOT EXISTS (SELECT FROM fresh WHERE fresh.id = stale.id AND fresh.sent_at IS NULL)",
    still_sent=" AND NOT EXISTS (SELECT FROM fresh WHERE fresh.id = stale.id AND fresh.sent_at = stale.sent_at)",
)
_FOLLOWING = {
    "INSERT": ("NEW TABLE AS fresh", _MISSING),
    "UPDATE": ("OLD TABLE AS stale NEW TABLE AS fresh", _MOVED + _MISSING),
    "DELETE": ("OLD TABLE AS stale", _LEFT.format(still_unsent="", still_sent="")),
}


def pokes_follow() -> None:
    """Have what this release reads follow what the one before writes."""
    for when, (tables, body) in _FOLLOWING.items():
        name = f"outbox_{when.lower()}"
        op.execute(f"""
            CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $body$
            BEGIN{body}
                RETURN NULL;
            END
            $body$
        """)
        op.execute(f"""
            CREATE TRIGGER {name} AFTER {when} ON outbox REFERENCING {tables}
            FOR EACH STATEMENT EXECUTE FUNCTION {name}()
        """)


def pokes_follow_no_more() -> None:
    """Take the triggers away."""
    for when in _FOLLOWING:
        name = f"outbox_{when.lower()}"
        op.execute(f"DROP TRIGGER {name} ON outbox")
        op.execute(f"DROP FUNCTION {name}()")


def upgrade() -> None:
    op.create_table(
        "unsent_pokes",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
    )
    op.create_index("unsent_pokes_order", "unsent_pokes", ["queue", sa.text("priority DESC"), "id"])
    op.create_table(
        "sent_pokes",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("sent_pokes_order", "sent_pokes", ["queue", "sent_at"])
    # Nobody writes a poke from here to the end.
    pokes_follow()
    op.execute("""
        INSERT INTO unsent_pokes (id, queue, priority, message)
        SELECT id, queue, priority, message FROM outbox WHERE sent_at IS NULL
    """)
    op.execute("""
        INSERT INTO sent_pokes (id, queue, priority, key, attempt, sent_at)
        SELECT id, queue, priority, key, attempt, sent_at FROM outbox
        WHERE message = 'task.run' AND claimed_at IS NULL AND sent_at IS NOT NULL
    """)
    op.execute("ALTER TABLE outbox SET (fillfactor = 50)")


def downgrade() -> None:
    op.execute("ALTER TABLE outbox RESET (fillfactor)")
    pokes_follow_no_more()
    op.drop_table("sent_pokes")
    op.drop_table("unsent_pokes")
