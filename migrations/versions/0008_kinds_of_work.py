"""work of any kind: tasks with a kind, a queue and a priority; plans apart from compute plans; pokes by queue.

Revision: 0008, after 0007. Every row of tasks and outbox is written once: a minute for some millions.
"""

import sqlalchemy as sa
from alembic import op

from migrations import NoWayBackError
from orchestrator import protos as pb

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_MESSAGES = {"task": "task.run", "function": "function.build", "disable": "outputs.disable", "stop": "stop_attempts"}
_PART = 1000
_NO_LIMIT = "SET LOCAL statement_timeout = 0"


def _renamed(names: dict[str, str]) -> str:
    cases = " ".join(f"WHEN '{old}' THEN '{new}'" for old, new in names.items())
    return f"UPDATE outbox SET message = CASE message {cases} ELSE message END"  # noqa: S608 - constants above


def _copy_plans() -> None:
    """Copy the compute plans in parts; the message alone says whether one that has ended was cancelled."""
    connection = op.get_bind()
    compute_plans = sa.table("compute_plans", *map(sa.column, ("key", "channel", "owner", "ended_at", "message")))
    plans = sa.table("plans", *map(sa.column, ("key", "kind", "channel", "owner", "ended_at", "outcome")))
    rows = connection.execute(sa.select(compute_plans), execution_options={"yield_per": _PART})
    for part in rows.partitions():
        connection.execute(
            plans.insert(),
            [
                {
                    "key": row.key,
                    "kind": "compute",
                    "channel": row.channel,
                    "owner": row.owner,
                    "ended_at": row.ended_at,
                    "outcome": _outcome(row.message) if row.ended_at else None,
                }
                for row in part
            ],
        )


def _outcome(message: bytes) -> int:
    cancelled = pb.ComputePlan.FromString(message).HasField("cancelation_date")
    return pb.STATUS_CANCELED if cancelled else pb.STATUS_FAILED


def upgrade() -> None:
    op.execute(_NO_LIMIT)
    op.create_table(
        "plans",
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.SmallInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key"),
    )
    _copy_plans()
    op.drop_column("compute_plans", "ended_at")
    op.add_column("tasks", sa.Column("kind", sa.Text(), nullable=False, server_default="compute"))
    op.alter_column("tasks", "kind", server_default=None)
    op.add_column("tasks", sa.Column("priority", sa.SmallInteger(), nullable=False, server_default=sa.text("0")))
    op.add_column("tasks", sa.Column("queue", sa.Text(), nullable=True))
    op.execute("UPDATE tasks SET queue = 'org.' || worker")
    op.alter_column("tasks", "queue", nullable=False)
    op.alter_column("tasks", "function_key", new_column_name="requires", nullable=True)
    op.drop_index("tasks_function", table_name="tasks")
    op.create_index("tasks_requires", "tasks", ["requires", "status"], postgresql_where=sa.text("requires IS NOT NULL"))
    op.alter_column("queues", "organization", new_column_name="name")
    op.execute("UPDATE queues SET name = 'org.' || name")
    op.add_column("nodes", sa.Column("slots", sa.Integer(), nullable=True))
    op.add_column("nodes", sa.Column("queue", sa.Text(), nullable=True))
    op.execute("UPDATE nodes SET queue = 'org.' || organization")
    op.alter_column("nodes", "queue", nullable=False)
    op.drop_index("outbox_unsent", table_name="outbox")
    op.drop_index("outbox_asset", table_name="outbox")
    op.alter_column("outbox", "organization", new_column_name="queue")
    op.alter_column("outbox", "kind", new_column_name="message")
    op.alter_column("outbox", "asset_key", new_column_name="key")
    op.add_column("outbox", sa.Column("priority", sa.SmallInteger(), nullable=False, server_default=sa.text("0")))
    op.add_column("outbox", sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True))
    op.execute(_renamed(_MESSAGES))
    op.execute("UPDATE outbox SET queue = 'org.' || queue")
    op.create_index(
        "outbox_unsent",
        "outbox",
        ["queue", sa.text("priority DESC"), "id"],
        postgresql_where=sa.text("sent_at IS NULL"),
    )
    op.create_index("outbox_key", "outbox", ["key"])
    out = "message = 'task.run' AND claimed_at IS NULL AND sent_at IS NOT NULL"
    op.create_index("outbox_out", "outbox", ["queue", "sent_at"], postgresql_where=sa.text(out))


def _refuse_other_kinds() -> None:
    """Refuse the way back where there is work that the release before would take for its own.

    Raises:
        NoWayBackError: there is some.
    """
    other = "SELECT kind FROM tasks WHERE kind <> 'compute' UNION SELECT kind FROM plans WHERE kind <> 'compute'"
    if kinds := op.get_bind().execute(sa.text(f"{other} ORDER BY kind")).scalars().all():
        raise NoWayBackError(
            f"there is work of the kinds {', '.join(kinds)}, which no release before revision {revision} knows: stay "
            "here; or, where nobody needs that work, delete its rows from tasks, plans, attempts, edges and outbox "
            "first"
        )


def downgrade() -> None:
    _refuse_other_kinds()
    op.execute(_NO_LIMIT)
    op.drop_index("outbox_out", table_name="outbox")
    op.drop_column("outbox", "claimed_at")
    op.drop_index("outbox_key", table_name="outbox")
    op.drop_index("outbox_unsent", table_name="outbox")
    op.execute("UPDATE outbox SET queue = substr(queue, 5)")
    op.execute(_renamed({new: old for old, new in _MESSAGES.items()}))
    op.drop_column("outbox", "priority")
    op.alter_column("outbox", "key", new_column_name="asset_key")
    op.alter_column("outbox", "message", new_column_name="kind")
    op.alter_column("outbox", "queue", new_column_name="organization")
    op.create_index("outbox_asset", "outbox", ["asset_key"])
    op.create_index("outbox_unsent", "outbox", ["organization", "id"], postgresql_where=sa.text("sent_at IS NULL"))
    op.drop_column("nodes", "queue")
    op.drop_column("nodes", "slots")
    op.execute("UPDATE queues SET name = substr(name, 5)")
    op.alter_column("queues", "name", new_column_name="organization")
    op.drop_index("tasks_requires", table_name="tasks")
    op.alter_column("tasks", "requires", new_column_name="function_key", nullable=False)
    op.create_index("tasks_function", "tasks", ["function_key", "status"])
    op.drop_column("tasks", "queue")
    op.drop_column("tasks", "priority")
    op.drop_column("tasks", "kind")
    op.add_column("compute_plans", sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE compute_plans SET ended_at = plans.ended_at FROM plans WHERE plans.key = compute_plans.key")
    op.drop_table("plans")
