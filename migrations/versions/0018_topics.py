"""whose runtimes have made the topics of an execution, and when they were asked last to remove them.

Revision: 0018, after 0017.
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("communication_adapters", sa.Column("worker", sa.Text(), nullable=False, server_default=""))
    op.add_column("communication_adapters", sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("communication_adapters", "asked_at")
    op.drop_column("communication_adapters", "worker")
