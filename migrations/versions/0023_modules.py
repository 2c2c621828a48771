"""modules of problems, and the commands to them.

Revision: 0023, after 0022.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "modules",
        sa.Column("deployment", sa.Text(), primary_key=True),
        sa.Column("kind", sa.SmallInteger(), primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("process_id", sa.Text(), nullable=False),
        sa.Column("registered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("heard_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("phase", sa.SmallInteger(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False, server_default=""),
        sa.Column("stopped", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("set_aside", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("failed", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("failures", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("restarting", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("suspected_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("told", sa.SmallInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("modules_heard", "modules", ["heard_at"], postgresql_where=sa.text("told <> 0"))
    op.create_table(
        "module_kinds",
        sa.Column("deployment", sa.Text(), primary_key=True),
        sa.Column("kind", sa.SmallInteger(), primary_key=True, autoincrement=False),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
    )
    op.create_table(
        "module_commands",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("organization", sa.Text(), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("message", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
    )
    op.create_index("module_commands_page", "module_commands", ["deployment", "accepted_at", "id"])
    op.create_table(
        "module_command_targets",
        sa.Column("command", sa.Uuid(), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=True),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("plans", postgresql.ARRAY(sa.Uuid()), nullable=False, server_default=sa.text("'{}'")),
        sa.Column("process_id", sa.Text(), nullable=True),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=False, server_default=""),
    )
    op.create_index(
        "module_command_targets_open",
        "module_command_targets",
        ["deployment", "kind"],
        postgresql_where=sa.text("state = 0"),
    )


def downgrade() -> None:
    op.drop_table("module_command_targets")
    op.drop_table("module_commands")
    op.drop_table("module_kinds")
    op.drop_table("modules")
