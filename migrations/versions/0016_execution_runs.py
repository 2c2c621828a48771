"""what runs executions: their steps, their workflows, their topics.

Revision: 0016, after 0015.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "execution_runs",
        sa.Column("execution", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("plan", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("implementation", sa.Text(), nullable=False),
        sa.Column("workflow", sa.Text(), nullable=True),
        sa.Column("noted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("over_since", sa.DateTime(timezone=True), nullable=True),
    )
    op.create_index("executions_live", "executions", ["created_at"], postgresql_where=sa.text("status IN (1, 2)"))
    op.create_table(
        "execution_works",
        sa.Column("task", sa.Uuid(), primary_key=True),
        sa.Column("execution", sa.BigInteger(), nullable=False),
        sa.Column("work", sa.LargeBinary(), nullable=False),
    )
    op.create_index("execution_works_execution", "execution_works", ["execution"])
    op.create_table(
        "communication_adapters",
        sa.Column("adapter", sa.Text(), primary_key=True),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("execution", sa.BigInteger(), nullable=False),
    )
    op.create_table("installation", sa.Column("name", sa.Text(), primary_key=True))
    op.execute("INSERT INTO installation (name) SELECT substr(replace(gen_random_uuid()::text, '-', ''), 1, 12)")


def downgrade() -> None:
    op.drop_table("installation")
    op.drop_table("communication_adapters")
    op.drop_table("execution_works")
    op.drop_index("executions_live", "executions")
    op.drop_table("execution_runs")
