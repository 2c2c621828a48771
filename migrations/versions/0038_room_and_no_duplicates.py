"""there is room for another version of each state in its page, and pokes are not searched for duplicates.

Revision: 0038, after 0037. No code needs it either. What is there stays as it is; nobody who reads or writes waits.
"""

from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None
half = "contract"
serves_from = "0030"


def upgrade() -> None:
    op.execute("ALTER TABLE task_states SET (fillfactor = 45)")
    for index in ("outbox_key", "unsent_pokes_order"):
        op.execute(f"ALTER INDEX {index} SET (deduplicate_items = off)")


def downgrade() -> None:
    for index in ("outbox_key", "unsent_pokes_order"):
        op.execute(f"ALTER INDEX {index} RESET (deduplicate_items)")
    op.execute("ALTER TABLE task_states SET (fillfactor = 50)")
