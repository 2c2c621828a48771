"""executions that workers run: their runs, and what of them starts together.

Revision: 0017, after 0016.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "task_runs",
        sa.Column("plan", sa.Uuid(), primary_key=True),
        sa.Column("execution", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("exit_gate", sa.Uuid(), nullable=True),
        sa.Column("outcome", sa.SmallInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("over_at", sa.DateTime(timezone=True), nullable=True),
    )
    op.create_index("task_runs_execution", "task_runs", ["execution"])
    op.create_index("task_runs_over", "task_runs", ["over_at"], postgresql_where=sa.text("over_at IS NOT NULL"))
    op.create_table(
        "gangs",
        sa.Column("gate", sa.Uuid(), primary_key=True),
        sa.Column("queue", sa.Text(), primary_key=True),
        sa.Column("plan", sa.Uuid(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
    )
    op.create_index("gangs_plan", "gangs", ["plan"])


def downgrade() -> None:
    op.drop_table("gangs")
    op.drop_table("task_runs")
