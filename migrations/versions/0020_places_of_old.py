"""the places that were given before the table of them was there.

Revision: 0020, after 0019. The second part of the expanding half; nobody waits for it. Some millions a minute.
"""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None
serves_from = "0018"


def upgrade() -> None:
    op.execute("SET LOCAL statement_timeout = 0")
    op.execute("""
        INSERT INTO places (position, channel, event)
        SELECT position, channel, id FROM events
        WHERE position IS NOT NULL AND NOT EXISTS (SELECT FROM places WHERE event = id)
    """)


def downgrade() -> None:
    """Leave them: their table goes with the revision before."""
