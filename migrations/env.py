"""What Alembic runs: one transaction for all migrations, alone, and never in the way of the service for long."""

from alembic import context
from sqlalchemy import text

from orchestrator.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, compare_server_default=False)
with context.begin_transaction():
    connection.execute(text("SELECT pg_advisory_xact_lock(7230290)"))
    connection.execute(text("SET LOCAL lock_timeout = '4s'"))
    # Read again, now that a migration that ran beside this one has ended.
    context.run_migrations()
