"""when topics were removed first, so that those which a late start makes anew are known, too.

Revision: 0026, after 0025.
"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None
# It adds a column that older code knows nothing of.
serves_from = "0018"


def upgrade() -> None:
    op.add_column("communication_adapters", sa.Column("gone_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("communication_adapters", "gone_at")
