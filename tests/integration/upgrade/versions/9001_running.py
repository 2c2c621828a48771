"""what a node runs, under a better name.

Revision: 9001, after this release's last. The expanding half of a release that is made up: `nodes.attempts` moves to
`nodes.running`; as long as both are there, each follows the other.
"""

from pathlib import Path

from alembic import op

import migrations

revision = "9001"
down_revision = max(file.stem[:4] for file in (Path(migrations.__file__).parent / "versions").glob("[0-9]*.py"))
branch_labels = None
depends_on = None
# Not this release's own number: a revision says it in a literal, and that number changes.
serves_from = "0001"

FOLLOW = """
    CREATE FUNCTION follow_nodes_running() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            NEW.running := coalesce(NEW.running, NEW.attempts);
            NEW.attempts := NEW.running;
        ELSIF NEW.running IS DISTINCT FROM OLD.running THEN
            NEW.attempts := NEW.running;
        ELSE
            NEW.running := NEW.attempts;
        END IF;
        RETURN NEW;
    END $$
"""

TRIGGER = """
    CREATE TRIGGER nodes_running BEFORE INSERT OR UPDATE ON nodes
    FOR EACH ROW EXECUTE FUNCTION follow_nodes_running()
"""


def upgrade() -> None:
    op.execute("ALTER TABLE nodes ADD COLUMN running integer")
    op.execute(FOLLOW)
    op.execute(TRIGGER)
    op.execute("UPDATE nodes SET attempts = attempts")


def downgrade() -> None:
    op.execute("DROP TRIGGER nodes_running ON nodes")
    op.execute("DROP FUNCTION follow_nodes_running()")
    op.execute("ALTER TABLE nodes DROP COLUMN running")
