"""the events of an asset are found by a number that stands for its key.

Revision: 0037, after 0035. A contracting half by itself: no code needs it to be right, so it comes when nothing else is
under way. The index is made anew over all events that are kept, which nobody writes meanwhile.
"""

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0035"
branch_labels = None
depends_on = None
half = "contract"
serves_from = "0030"


def upgrade() -> None:
    op.execute("SET LOCAL statement_timeout = 0")
    op.drop_index("events_asset", table_name="events")
    # Each entry is of another event: to look for what is the same, whenever a page is full, would only cost.
    op.create_index(
        "events_asset",
        "events",
        [sa.text("hashtextextended(asset_key, 0)"), "created_at", "id"],
        postgresql_with={"deduplicate_items": "off"},
    )


def downgrade() -> None:
    op.drop_index("events_asset", table_name="events")
    op.create_index("events_asset", "events", ["channel", "asset_key", "created_at", "id"])
