"""problems, their iterations and stages: the third product.

Revision: 0022, after 0020.
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "deployments",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("organization", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_problem", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("last_transaction", sa.Integer(), nullable=False, server_default=sa.text("0")),
    )
    op.create_table(
        "problems",
        sa.Column("deployment", sa.Text(), primary_key=True),
        sa.Column("problem", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_iteration", sa.Integer(), nullable=False),
    )
    op.create_table(
        "iterations",
        sa.Column("deployment", sa.Text(), primary_key=True),
        sa.Column("problem", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("iteration", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("sequence", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("parent", sa.Integer(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("preempted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("user_input", sa.LargeBinary(), nullable=False),
        sa.Column("secrets", sa.LargeBinary(), nullable=True),
        sa.Column("failed_stage", sa.SmallInteger(), nullable=True),
        sa.Column("error", sa.LargeBinary(), nullable=True),
        sa.Column("final", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("next_iteration", sa.Integer(), nullable=True),
        sa.Column("idempotency_key", sa.Text(), nullable=True),
    )
    op.create_index("iterations_latest", "iterations", ["deployment", "started_at", "sequence"])
    op.create_index("iterations_live", "iterations", ["deadline_at"], postgresql_where=sa.text("ended_at IS NULL"))
    op.create_index("iterations_ended", "iterations", ["ended_at"], postgresql_where=sa.text("ended_at IS NOT NULL"))
    op.create_index(
        "iterations_idempotency",
        "iterations",
        ["deployment", "idempotency_key"],
        unique=True,
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_table(
        "stages",
        sa.Column("deployment", sa.Text(), primary_key=True),
        sa.Column("problem", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("iteration", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("kind", sa.SmallInteger(), primary_key=True, autoincrement=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("task_key", sa.Uuid(), nullable=False),
        sa.Column("plan_key", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("replica", sa.Text(), nullable=True),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("slow_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_as", sa.SmallInteger(), nullable=True),
        sa.Column("error", sa.LargeBinary(), nullable=True),
        sa.Column("warning", sa.LargeBinary(), nullable=True),
    )
    op.create_index("stages_task", "stages", ["task_key"], unique=True)
    op.create_index(
        "stages_live", "stages", ["deployment", "kind", "replica"], postgresql_where=sa.text("ended_as IS NULL")
    )
    op.create_table(
        "stage_outputs",
        sa.Column("deployment", sa.Text(), primary_key=True),
        sa.Column("problem", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("iteration", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("kind", sa.SmallInteger(), primary_key=True, autoincrement=False),
        sa.Column("run", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("raw_model", sa.LargeBinary(), nullable=True),
        sa.Column("failed", sa.Boolean(), nullable=False, server_default=sa.text("false")),
    )


def downgrade() -> None:
    op.drop_table("stage_outputs")
    op.drop_table("stages")
    op.drop_table("iterations")
    op.drop_table("problems")
    op.drop_table("deployments")
