"""the tasks that a worker's consent policy does not cover.

Revision: 0007, after 0006.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "declines",
        sa.Column("task_key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("plan_key", sa.Uuid(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("declined_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("task_key"),
    )
    op.create_index("declines_page", "declines", ["channel", "declined_at", "task_key"], unique=False)
    op.create_index("declines_worker", "declines", ["worker", "channel", "declined_at", "task_key"], unique=False)
    op.create_index("declines_plan", "declines", ["plan_key", "declined_at", "task_key"], unique=False)


def downgrade() -> None:
    op.drop_index("declines_plan", table_name="declines")
    op.drop_index("declines_worker", table_name="declines")
    op.drop_index("declines_page", table_name="declines")
    op.drop_table("declines")
