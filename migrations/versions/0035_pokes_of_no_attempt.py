"""the few pokes that announce no attempt have an index of their own.

Revision: 0035, after 0034. The third part of the contracting half of `unsent_pokes` (0030): no code needs it to be
right, so it comes when nothing else is under way.
"""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None
half = "contract"
serves_from = "0030"


def upgrade() -> None:
    op.create_index(
        "unsent_pokes_others", "unsent_pokes", ["queue", "id"], postgresql_where=sa.text("message <> 'task.run'")
    )


def downgrade() -> None:
    op.drop_index("unsent_pokes_others", table_name="unsent_pokes")
