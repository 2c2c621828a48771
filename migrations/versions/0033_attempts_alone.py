"""no index over what changes of an attempt any more.

Revision: 0033, after 0030. The first part of the contracting half of `unsettled` (0029).
"""

from importlib import import_module

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0030"
branch_labels = None
depends_on = None
half = "contract"
serves_from = "0030"


def upgrade() -> None:
    op.execute("DROP TRIGGER attempts_begun ON attempts")
    op.execute("DROP FUNCTION attempts_begun()")
    for index in ("attempts_open", "attempts_ended", "attempts_to_stop"):
        op.drop_index(index, table_name="attempts")


def downgrade() -> None:
    op.create_index("attempts_open", "attempts", ["task_key"], postgresql_where=sa.text("ended_at IS NULL"))
    op.create_index("attempts_ended", "attempts", ["ended_at"], postgresql_where=sa.text("ended_at IS NOT NULL"))
    stops = sa.text("outcome IN (5, 6) AND stopped_at IS NULL")
    op.create_index("attempts_to_stop", "attempts", ["ended_at"], postgresql_where=stops)
    import_module("migrations.versions.0029_unsettled_attempts").unsettled_follows()
