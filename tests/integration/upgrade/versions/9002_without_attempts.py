"""no node's attempts under the old name any more.

Revision: 9002, after 9001. The contracting half of a release that is made up.
"""

from alembic import op

revision = "9002"
down_revision = "9001"
branch_labels = None
depends_on = None
half = "contract"
serves_from = "9001"


def upgrade() -> None:
    op.execute("DROP TRIGGER nodes_running ON nodes")
    op.execute("DROP FUNCTION follow_nodes_running()")
    op.execute("ALTER TABLE nodes DROP COLUMN attempts")


def downgrade() -> None:
    raise AssertionError("what is gone does not come back")
