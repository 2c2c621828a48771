"""no index over what changes of a poke any more, and not when it was claimed.

Revision: 0034, after 0033. The second part of the contracting half of `unsent_pokes` and `sent_pokes` (0030).
"""

from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None
half = "contract"
serves_from = "0030"


def upgrade() -> None:
    import_module("migrations.versions.0030_pokes_apart").pokes_follow_no_more()
    op.drop_index("outbox_unsent", table_name="outbox")
    # An index goes with it: of what is out.
    op.drop_column("outbox", "claimed_at")


def downgrade() -> None:
    op.add_column("outbox", sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True))
    # Of those that are out no other was claimed; it matters only that the index is small.
    op.execute("""
        UPDATE outbox SET claimed_at = sent_at
        WHERE sent_at IS NOT NULL AND NOT EXISTS (SELECT FROM sent_pokes WHERE sent_pokes.id = outbox.id)
    """)
    out = "message = 'task.run' AND claimed_at IS NULL AND sent_at IS NOT NULL"
    op.create_index("outbox_out", "outbox", ["queue", "sent_at"], postgresql_where=sa.text(out))
    op.create_index(
        "outbox_unsent",
        "outbox",
        ["queue", sa.text("priority DESC"), "id"],
        postgresql_where=sa.text("sent_at IS NULL"),
    )
    import_module("migrations.versions.0030_pokes_apart").pokes_follow()
