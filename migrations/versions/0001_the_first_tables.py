"""the first tables.

Revision: 0001, after nothing.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "attempts",
        sa.Column("task_key", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("node", sa.Text(), nullable=True),
        sa.Column("claim_id", sa.Text(), nullable=True),
        sa.Column("token_hash", sa.LargeBinary(), nullable=True),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.SmallInteger(), nullable=True),
        sa.Column("fault", sa.Text(), nullable=True),
        sa.Column("report_hash", sa.LargeBinary(), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("poked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("task_key", "number"),
    )
    op.create_index(
        "attempts_lease", "attempts", ["lease_until"], unique=False, postgresql_where=sa.text("ended_at IS NULL")
    )
    op.create_index(
        "attempts_to_stop",
        "attempts",
        ["ended_at"],
        unique=False,
        postgresql_where=sa.text("outcome IN (5, 6) AND stopped_at IS NULL"),
    )
    op.create_table(
        "compute_plans",
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("compute_plans_page", "compute_plans", ["channel", "created_at", "key"], unique=False)
    op.create_table(
        "data_managers",
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("data_managers_page", "data_managers", ["channel", "created_at", "key"], unique=False)
    op.create_table(
        "data_samples",
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("manager_keys", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("data_samples_managers", "data_samples", ["manager_keys"], unique=False, postgresql_using="gin")
    op.create_index("data_samples_page", "data_samples", ["channel", "created_at", "key"], unique=False)
    op.create_table(
        "edges",
        sa.Column("parent", sa.Uuid(), nullable=False),
        sa.Column("child", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("parent", "child"),
    )
    op.create_index("edges_child", "edges", ["child"], unique=False)
    op.create_table(
        "events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("asset_kind", sa.SmallInteger(), nullable=False),
        sa.Column("asset_key", sa.Text(), nullable=False),
        sa.Column("asset", sa.LargeBinary(), nullable=False),
        sa.Column("metadata", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("events_asset", "events", ["channel", "asset_key", "created_at", "id"], unique=False)
    op.create_index("events_page", "events", ["channel", "created_at", "id"], unique=False)
    op.create_index(
        "events_position", "events", ["position"], unique=True, postgresql_where=sa.text("position IS NOT NULL")
    )
    op.create_index(
        "events_unplaced", "events", ["sequence"], unique=False, postgresql_where=sa.text("position IS NULL")
    )
    op.create_table(
        "failure_reports",
        sa.Column("asset_key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("asset_key"),
    )
    op.create_table(
        "functions",
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("poked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pokes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("functions_page", "functions", ["channel", "created_at", "key"], unique=False)
    op.create_index(
        "functions_to_build", "functions", ["poked_at"], unique=False, postgresql_where=sa.text("status IN (1, 2)")
    )
    op.create_table(
        "models",
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("position", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("task_key", sa.Uuid(), nullable=False),
        sa.Column("output", sa.Text(), nullable=False),
        sa.Column("transient", sa.Boolean(), nullable=False),
        sa.Column("disabled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("poked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("models_page", "models", ["channel", "created_at", "key"], unique=False)
    op.create_index("models_task", "models", ["task_key", "output", "position"], unique=False)
    op.create_index(
        "models_transient", "models", ["task_key"], unique=False, postgresql_where=sa.text("transient AND NOT disabled")
    )
    op.create_table(
        "nodes",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("organization", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("heard_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "organization", "name"),
    )
    op.create_table(
        "organizations",
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("channel", "id"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("organization", sa.Text(), nullable=False),
        sa.Column("asset_key", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("outbox_asset", "outbox", ["asset_key"], unique=False)
    op.create_index(
        "outbox_unsent", "outbox", ["organization", "id"], unique=False, postgresql_where=sa.text("sent_at IS NULL")
    )
    op.create_table(
        "performances",
        sa.Column("task_key", sa.Uuid(), nullable=False),
        sa.Column("output", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("value", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("task_key", "output"),
    )
    op.create_index(
        "performances_page",
        "performances",
        ["channel", "created_at", sa.literal_column("task_key DESC"), "output"],
        unique=False,
    )
    op.create_table(
        "sweeps",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("ran_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("repaired", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "tasks",
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("plan_key", sa.Uuid(), nullable=False),
        sa.Column("function_key", sa.Uuid(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("pending_parents", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("poked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pokes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("tasks_due", "tasks", ["due_at"], unique=False, postgresql_where=sa.text("due_at IS NOT NULL"))
    op.create_index("tasks_function", "tasks", ["function_key", "status"], unique=False)
    op.create_index("tasks_page", "tasks", ["channel", "created_at", "key"], unique=False)
    op.create_index("tasks_plan", "tasks", ["plan_key", "status", "created_at", "key"], unique=False)
    op.create_index("tasks_to_do", "tasks", ["poked_at"], unique=False, postgresql_where=sa.text("status = 2"))


def downgrade() -> None:
    op.drop_index("tasks_to_do", table_name="tasks", postgresql_where=sa.text("status = 2"))
    op.drop_index("tasks_plan", table_name="tasks")
    op.drop_index("tasks_page", table_name="tasks")
    op.drop_index("tasks_function", table_name="tasks")
    op.drop_index("tasks_due", table_name="tasks", postgresql_where=sa.text("due_at IS NOT NULL"))
    op.drop_table("tasks")
    op.drop_table("sweeps")
    op.drop_index("performances_page", table_name="performances")
    op.drop_table("performances")
    op.drop_index("outbox_unsent", table_name="outbox", postgresql_where=sa.text("sent_at IS NULL"))
    op.drop_index("outbox_asset", table_name="outbox")
    op.drop_table("outbox")
    op.drop_table("organizations")
    op.drop_table("nodes")
    op.drop_index("models_transient", table_name="models", postgresql_where=sa.text("transient AND NOT disabled"))
    op.drop_index("models_task", table_name="models")
    op.drop_index("models_page", table_name="models")
    op.drop_table("models")
    op.drop_index("functions_to_build", table_name="functions", postgresql_where=sa.text("status IN (1, 2)"))
    op.drop_index("functions_page", table_name="functions")
    op.drop_table("functions")
    op.drop_table("failure_reports")
    op.drop_index("events_unplaced", table_name="events", postgresql_where=sa.text("position IS NULL"))
    op.drop_index("events_position", table_name="events", postgresql_where=sa.text("position IS NOT NULL"))
    op.drop_index("events_page", table_name="events")
    op.drop_index("events_asset", table_name="events")
    op.drop_table("events")
    op.drop_index("edges_child", table_name="edges")
    op.drop_table("edges")
    op.drop_index("data_samples_page", table_name="data_samples")
    op.drop_index("data_samples_managers", table_name="data_samples", postgresql_using="gin")
    op.drop_table("data_samples")
    op.drop_index("data_managers_page", table_name="data_managers")
    op.drop_table("data_managers")
    op.drop_index("compute_plans_page", table_name="compute_plans")
    op.drop_table("compute_plans")
    op.drop_index(
        "attempts_to_stop", table_name="attempts", postgresql_where=sa.text("outcome IN (5, 6) AND stopped_at IS NULL")
    )
    op.drop_index("attempts_lease", table_name="attempts", postgresql_where=sa.text("ended_at IS NULL"))
    op.drop_table("attempts")
