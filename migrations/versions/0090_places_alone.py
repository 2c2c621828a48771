"""the row of an event follows its place no more.

Revision: 0090, after 0026. The first part of the contracting half of `places` (0019), which comes after all that this
release adds, and so has a number beyond theirs. A part locks one table, and so waits for nobody who waits for it.
"""

from importlib import import_module

from alembic import op

revision = "0090"
down_revision = "0026"
branch_labels = None
depends_on = None
half = "contract"
serves_from = "0020"


def upgrade() -> None:
    op.execute("DROP TRIGGER places_written ON places")
    op.execute("DROP FUNCTION places_written()")


def downgrade() -> None:
    import_module("migrations.versions.0019_places").places_follow()
