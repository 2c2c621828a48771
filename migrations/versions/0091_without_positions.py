"""no place in the row of an event any more.

Revision: 0091, after 0090. The second part of the contracting half of `places` (0019).
"""

from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision = "0091"
down_revision = "0090"
branch_labels = None
depends_on = None
half = "contract"
serves_from = "0020"


def upgrade() -> None:
    op.execute("DROP TRIGGER events_written ON events")
    op.execute("DROP TRIGGER events_placed ON events")
    op.execute("DROP FUNCTION events_written()")
    op.execute("DROP FUNCTION events_placed()")
    # Its indexes go with it: of what has a place, and of what has none.
    op.drop_column("events", "position")


def downgrade() -> None:
    op.execute("SET LOCAL statement_timeout = 0")
    op.add_column("events", sa.Column("position", sa.BigInteger(), nullable=True))
    op.execute("UPDATE events SET position = places.position FROM places WHERE event = id")
    op.create_index("events_position", "events", ["position"], postgresql_where=sa.text("position IS NOT NULL"))
    op.create_index("events_unplaced", "events", ["sequence"], postgresql_where=sa.text("position IS NULL"))
    import_module("migrations.versions.0019_places").events_follow()
