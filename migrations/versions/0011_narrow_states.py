"""what changes of a task apart from what never does; the latch of a plan as an advisory lock.

Revision: 0011, after 0010. Every task is written once more: a minute for some millions.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_NO_LIMIT = "SET LOCAL statement_timeout = 0"
_STATE = "status, pending_parents, attempts, token_hash, due_at, poked_at, pokes"
_TO_DO, _DUE = "status = 2", "due_at IS NOT NULL"

# A new snapshot for each statement of its own: so what it reads is what whoever held the latch before has committed.
_SHARE_LATCH = """
    CREATE FUNCTION share_latch(plan uuid) RETURNS integer LANGUAGE plpgsql VOLATILE AS $body$
    BEGIN
        PERFORM pg_advisory_xact_lock_shared(hashtextextended(CAST(plan AS text), 0));
        RETURN (SELECT extended FROM plans WHERE key = plan);
    END
    $body$
"""

# What is To do is found by its poke from now on, and old pokes were forgotten.
_POKE_AGAIN = """
    INSERT INTO outbox (message, queue, priority, key, attempt, created_at)
    SELECT 'task.run', queue, priority, key, attempts + 1, poked_at
    FROM tasks JOIN task_states USING (key)
    WHERE status = 2 AND poked_at IS NOT NULL
      AND NOT EXISTS (SELECT FROM outbox WHERE message = 'task.run' AND outbox.key = tasks.key
                      AND attempt = attempts + 1 AND claimed_at IS NULL)
    ORDER BY poked_at, created_at, key
"""


def upgrade() -> None:
    op.execute(_NO_LIMIT)
    op.create_table(
        "task_states",
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("plan_key", sa.Uuid(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("pending_parents", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("token_hash", sa.LargeBinary(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("poked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pokes", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("key"),
        postgresql_with={"fillfactor": 50},
    )
    columns = f"key, plan_key, {_STATE}"
    op.execute(f"INSERT INTO task_states ({columns}) SELECT {columns} FROM tasks")  # noqa: S608 - constants above
    op.create_index("task_states_plan", "task_states", ["plan_key"])
    op.create_index("task_states_due", "task_states", ["due_at"], postgresql_where=sa.text(_DUE))
    for index in ("tasks_plan", "tasks_requires", "tasks_to_do", "tasks_due"):
        op.drop_index(index, table_name="tasks")
    for column in _STATE.split(", "):
        op.drop_column("tasks", column)
    op.create_index("tasks_plan", "tasks", ["plan_key", "created_at", "key"])
    op.create_index("tasks_requires", "tasks", ["requires"], postgresql_where=sa.text("requires IS NOT NULL"))
    op.drop_index("attempts_lease", table_name="attempts")
    op.create_index("attempts_open", "attempts", ["task_key"], postgresql_where=sa.text("ended_at IS NULL"))
    op.execute(_SHARE_LATCH)
    op.execute(_POKE_AGAIN)


def downgrade() -> None:
    op.execute(_NO_LIMIT)
    op.execute("DROP FUNCTION share_latch(uuid)")
    op.drop_index("attempts_open", table_name="attempts")
    op.create_index("attempts_lease", "attempts", ["lease_until"], postgresql_where=sa.text("ended_at IS NULL"))
    op.drop_index("tasks_requires", table_name="tasks")
    op.drop_index("tasks_plan", table_name="tasks")
    op.add_column("tasks", sa.Column("status", sa.SmallInteger(), nullable=True))
    op.add_column("tasks", sa.Column("pending_parents", sa.Integer(), nullable=True))
    op.add_column("tasks", sa.Column("attempts", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.add_column("tasks", sa.Column("token_hash", sa.LargeBinary(), nullable=True))
    op.add_column("tasks", sa.Column("due_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("tasks", sa.Column("poked_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("tasks", sa.Column("pokes", sa.Integer(), nullable=False, server_default=sa.text("0")))
    values = ", ".join(f"state.{column}" for column in _STATE.split(", "))
    op.execute(
        f"UPDATE tasks SET ({_STATE}) = ({values}) FROM task_states AS state WHERE state.key = tasks.key"  # noqa: S608
    )
    op.alter_column("tasks", "status", nullable=False)
    op.alter_column("tasks", "pending_parents", nullable=False)
    op.create_index("tasks_plan", "tasks", ["plan_key", "status", "created_at", "key"])
    op.create_index("tasks_requires", "tasks", ["requires", "status"], postgresql_where=sa.text("requires IS NOT NULL"))
    op.create_index("tasks_to_do", "tasks", ["poked_at"], postgresql_where=sa.text(_TO_DO))
    op.create_index("tasks_due", "tasks", ["due_at"], postgresql_where=sa.text(_DUE))
    op.drop_table("task_states")
