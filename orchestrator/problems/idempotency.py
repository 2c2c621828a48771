"""Idempotency keys: the same key, the same task."""

from orchestrator.core.errors import BadRequestError
from orchestrator.engine.transaction import Transaction
from orchestrator.store.connection import Row
from orchestrator.store.statements import statement

_MOST = 200

# Whoever comes with the same key at the same time waits here for the other.
_KEY = statement("SELECT pg_advisory_xact_lock(hashtextextended(:deployment || '/' || :key, 1))")
_BEFORE = statement("""
    SELECT problem, iteration, state, user_input FROM iterations
    WHERE deployment = :deployment AND idempotency_key = :key
""")


def before(transaction: Transaction, deployment: str, key: str) -> Row | None:
    """Return the iteration that a key has made before, None without one; whoever else has the key waits.

    Raises:
        BadRequestError: it is too long, or cannot be kept.
    """
    if not key:
        return None
    if len(key) > _MOST or "\0" in key:
        raise BadRequestError(f"Idempotency-Key: 1 to {_MOST} characters without NUL are expected")
    parameters = {"deployment": deployment, "key": key}
    transaction.connection.execute(_KEY, parameters)
    return transaction.connection.execute(_BEFORE, parameters).one_or_none()
