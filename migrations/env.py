"""What Alembic runs: each revision in a transaction of its own, one process at a time."""

from typing import Any

from alembic import context
from sqlalchemy import text

from migrations import history
from orchestrator.store.tables import metadata

_LOCK = 7230290
# A statement that waits for a lock makes all that come after it wait; one that runs for long may hold one. A revision
# that must take longer says so itself, with SET LOCAL.
_PATIENCE = "SET lock_timeout = '4s'; SET statement_timeout = '30s'"

connection = context.config.attributes["connection"]
tell = context.config.attributes.get("tell", lambda _: None)
serves_from = {each.revision: each.serves_from for each in history()}


def applied(*, ctx: Any, step: Any, **_: Any) -> None:
    """Note, in the transaction of a revision, whom the database serves from now on."""
    if ctx.connection.execute(text("SELECT to_regclass('compatibility')")).scalar() is not None:
        (at,) = step.destination_revision_ids
        ctx.connection.execute(
            text("""
                INSERT INTO compatibility (id, serves_from) VALUES (1, :serves_from)
                ON CONFLICT (id) DO UPDATE SET serves_from = excluded.serves_from
            """),
            {"serves_from": serves_from[at]},
        )
    if step.is_upgrade:
        tell(f"{step.up_revision.revision} {step.up_revision.doc}")


# Both are the session's, and go with it.
connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
connection.execute(text(_PATIENCE))
connection.commit()
context.configure(
    connection=connection,
    target_metadata=metadata,
    compare_server_default=False,
    transaction_per_migration=True,
    on_version_apply=applied,  # type: ignore[arg-type]
)
with context.begin_transaction():
    # The revision is read only now that a migration that ran beside this one has ended.
    context.run_migrations()
