"""The plan of a task as a latch: what may change the graph, or end it, holds it alone."""

from uuid import UUID

from sqlalchemy import Connection, text

_TAKE_PLAN = text("SELECT key FROM compute_plans WHERE key = :key FOR NO KEY UPDATE SKIP LOCKED")


def take_plan(connection: Connection, key: UUID) -> bool:
    """Lock a compute plan until the transaction ends; return False where another transaction holds it."""
    return connection.execute(_TAKE_PLAN, {"key": key}).one_or_none() is not None
