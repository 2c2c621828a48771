"""compute plans that came whole, those that continue others, and who uses transient models by their keys.

Revision: 0012, after 0011. Nothing is written anew; the code of 0011 goes on, and knows nothing of them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
serves_from = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "submissions",
        sa.Column("plan_key", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("tasks", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("plan_key"),
    )
    op.create_table(
        "continuations",
        sa.Column("plan_key", sa.Uuid(), nullable=False),
        sa.Column("origin", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("plan_key"),
    )
    op.create_index("continuations_origin", "continuations", ["origin", "created_at", "plan_key"])
    op.create_table(
        "continued_tasks",
        sa.Column("plan_key", sa.Uuid(), nullable=False),
        sa.Column("origin_task", sa.Uuid(), nullable=False),
        sa.Column("task_key", sa.Uuid(), nullable=True),
        sa.Column("reused", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("plan_key", "origin_task"),
    )
    op.create_table(
        "model_uses",
        sa.Column("task_key", sa.Uuid(), nullable=False),
        sa.Column("user_key", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("task_key", "user_key"),
    )


def downgrade() -> None:
    for table in ("model_uses", "continued_tasks", "continuations", "submissions"):
        op.drop_table(table)
