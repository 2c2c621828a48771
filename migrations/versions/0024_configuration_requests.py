"""configuration requests to modules.

Revision: 0024, after 0023.
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "configuration_requests",
        sa.Column("deployment", sa.Text(), primary_key=True),
        sa.Column("transaction_id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("first_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("replica", sa.Text(), nullable=True),
        sa.Column("taken_by", sa.Text(), nullable=True),
        sa.Column("configuration", sa.LargeBinary(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answer", sa.LargeBinary(), nullable=True),
    )
    op.create_index(
        "configuration_requests_open",
        "configuration_requests",
        ["deployment", "kind"],
        postgresql_where=sa.text("answered_at IS NULL"),
    )
    op.create_index("configuration_requests_first", "configuration_requests", ["deployment", "first_id"])
    op.create_index("configuration_requests_asked", "configuration_requests", ["deadline_at"])


def downgrade() -> None:
    op.drop_table("configuration_requests")
