"""Attempts: the runs of a task, their leases and how they ended."""

from collections.abc import Collection
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from orchestrator.store.database import Transaction

_RENEW = text("""
    UPDATE attempts SET lease_until = :now + CAST(:lease AS interval)
    FROM unnest(CAST(:keys AS uuid[]), CAST(:numbers AS int[]), CAST(:token_hashes AS bytea[]))
         AS held (task_key, number, token_hash)
    WHERE attempts.task_key = held.task_key AND attempts.number = held.number
      AND attempts.token_hash = held.token_hash AND attempts.ended_at IS NULL
    RETURNING attempts.task_key, attempts.number
""")


def renew(
    transaction: Transaction, held: Collection[tuple[UUID, int, bytes]], lease: timedelta
) -> set[tuple[UUID, int]]:
    """Renew leases.

    Args:
        transaction: of the worker.
        held: task, number and SHA-256 of the token of each attempt.
        lease: how long they are believed to live from now on.

    Returns:
        Task and number of those that still hold their task.
    """
    rows = transaction.connection.execute(
        _RENEW,
        {
            "now": transaction.now,
            "lease": lease,
            "keys": [key for key, _, _ in held],
            "numbers": [number for _, number, _ in held],
            "token_hashes": [token_hash for _, _, token_hash in held],
        },
    )
    return {(row.task_key, row.number) for row in rows}


_FIND = text("SELECT * FROM attempts WHERE task_key = :key AND number = :number")


def find(transaction: Transaction, key: UUID, number: int) -> Row[Any] | None:
    """Return an attempt's row, None where there is none."""
    return transaction.connection.execute(_FIND, {"key": key, "number": number}).one_or_none()


_REPEAT = text("""
    WITH task AS (
             UPDATE tasks SET token_hash = :token_hash
             WHERE key = :key AND channel = :channel AND worker = :organization AND status = 3
               AND EXISTS (SELECT FROM attempts
                           WHERE task_key = tasks.key AND number = tasks.attempts AND claim_id = :claim_id)
             RETURNING key, attempts
         )
    UPDATE attempts SET token_hash = :token_hash, lease_until = :now + CAST(:lease AS interval)
    FROM task WHERE task_key = task.key AND number = task.attempts
    RETURNING number
""")


def repeat_claim(transaction: Transaction, key: UUID, claim_id: str, token_hash: bytes, lease: timedelta) -> int | None:
    """Give the running attempt of a claim, whose answer was lost, a new token; return its number, None without one."""
    return transaction.connection.execute(
        _REPEAT,
        {
            "key": key,
            "channel": transaction.channel,
            "organization": transaction.organization,
            "claim_id": claim_id,
            "token_hash": token_hash,
            "lease": lease,
            "now": transaction.now,
        },
    ).scalar_one_or_none()
