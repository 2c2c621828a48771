"""Attempts: the runs of a task, their leases and how they ended."""

import hashlib
from collections.abc import Collection, Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy import RowMapping, select

from orchestrator.engine.transaction import Transaction
from orchestrator.store import pages, tables
from orchestrator.store.connection import Row
from orchestrator.store.statements import statement

UNACKNOWLEDGED = (
    "outcome IN ($STOPPED) AND stopped_at IS NULL AND claim_id IS NOT NULL AND report_hash IS NULL AND fault IS NULL"
)
"""Of an attempt: what ran for a task that was ended over its head, and has not reported since that it ended itself."""


def digest(token: str) -> bytes:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode()).digest()


# Locked in the order of their keys, as a cancelled plan does, so that the two never wait for each other.
_RENEW = statement("""
    WITH alive AS (
             SELECT attempts.task_key, attempts.number
             FROM attempts
             JOIN unnest(CAST(:keys AS uuid[]), CAST(:numbers AS int[]), CAST(:token_hashes AS bytea[]))
                  AS held (task_key, number, token_hash)
                  ON attempts.task_key = held.task_key AND attempts.number = held.number
                     AND attempts.token_hash = held.token_hash
             JOIN tasks ON tasks.key = attempts.task_key
             WHERE attempts.ended_at IS NULL AND channel = :channel AND worker = :organization
             ORDER BY attempts.task_key, attempts.number FOR NO KEY UPDATE OF attempts
         )
    UPDATE attempts SET lease_until = :now + CAST(:lease AS interval)
    FROM alive
    WHERE attempts.task_key = alive.task_key AND attempts.number = alive.number
    RETURNING attempts.task_key, attempts.number
""")


def renew(
    transaction: Transaction, held: Collection[tuple[UUID, int, bytes]], lease: timedelta
) -> set[tuple[UUID, int]]:
    """Renew leases of the caller in its channel.

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
            "channel": transaction.channel,
            "organization": transaction.organization,
            "now": transaction.now,
            "lease": lease,
            "keys": [key for key, _, _ in held],
            "numbers": [number for _, number, _ in held],
            "token_hashes": [token_hash for _, _, token_hash in held],
        },
    )
    return {(row.task_key, row.number) for row in rows}


_FIND = statement("""
    SELECT attempts.token_hash, ended_at, outcome, report_hash, due_at FROM attempts
    LEFT JOIN task_states ON key = task_key AND task_states.attempts = number
    WHERE task_key = :key AND number = :number
""")


def find(transaction: Transaction, key: UUID, number: int) -> Row | None:
    """Return how an attempt ended, and when the next one is due that waits for it; None where there is none."""
    return transaction.connection.execute(_FIND, {"key": key, "number": number}).one_or_none()


_LAST = statement("""
    SELECT number, node, claim_id IS NOT NULL AS claimed, claimed_at, lease_until, fault, due_at
    FROM task_states LEFT JOIN attempts ON task_key = key AND number = task_states.attempts
    WHERE key = :key
""")


def last(transaction: Transaction, key: UUID) -> Row:
    """Return the last attempt of a task, if any has begun, and when the next is due where it pauses before it."""
    return transaction.connection.execute(_LAST, {"key": key}).one()


def page(transaction: Transaction, plan: UUID, at: pages.Page) -> tuple[Sequence[RowMapping], str]:
    """Return a page of the tasks of a plan that have begun, with the times of their last attempts where they are kept.

    Args:
        transaction: of the caller.
        plan: which one.
        at: which page.

    Returns:
        Rows of key, attempts, claimed_at and ended_at in the order of registration, and the token of the next page.
    """
    task, state, attempt = tables.tasks.c, tables.task_states.c, tables.attempts.c
    last = (attempt.task_key == task.key) & (attempt.number == state.attempts)
    query = (
        select(task.created_at, task.key, state.attempts, attempt.claimed_at, attempt.ended_at)
        .join(tables.task_states, state.key == task.key)
        .outerjoin(tables.attempts, last)
        .where(task.plan_key == plan, task.channel == transaction.channel, state.attempts > 0)
    )
    return pages.read(transaction.connection, query, at, (task.created_at, task.key))


_REPEAT = statement("""
    WITH task AS (
             UPDATE task_states SET token_hash = :token_hash
             FROM tasks
             WHERE tasks.key = :key AND task_states.key = :key AND channel = :channel AND worker = :organization
               AND status = $DOING
               AND EXISTS (SELECT FROM attempts
                           WHERE task_key = :key AND number = task_states.attempts AND claim_id = :claim_id)
             RETURNING tasks.key, attempts
         )
    UPDATE attempts SET token_hash = :token_hash, lease_until = :now + CAST(:lease AS interval)
    FROM task WHERE task_key = task.key AND number = task.attempts
    RETURNING number
""")


def repeat_claim(transaction: Transaction, key: UUID, claim_id: str, token_hash: bytes, lease: timedelta) -> int | None:
    """Give the running attempt of a claim, whose answer was lost, a new token; return its number, None without one."""
    repeated: int | None = transaction.connection.execute(
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
    return repeated


_COUNT = statement("SELECT count(*) FROM attempts WHERE task_key = :key AND fault = :fault")


def count_faults(transaction: Transaction, key: UUID, fault: str) -> int:
    """Return how many attempts of a task have ended in a kind of fault."""
    return int(transaction.connection.execute(_COUNT, {"key": key, "fault": fault}).scalar_one())


_DELIVERED = statement("""
    UPDATE attempts SET delivered_at = coalesce(delivered_at, :now),
                        stopped_at = CASE WHEN :stopped THEN coalesce(stopped_at, :now) ELSE stopped_at END
    FROM unnest(CAST(:keys AS uuid[]), CAST(:numbers AS int[]), CAST(:token_hashes AS bytea[]))
         AS told (task_key, number, token_hash)
         JOIN tasks ON tasks.key = told.task_key AND channel = :channel AND worker = :organization
    WHERE attempts.task_key = told.task_key AND attempts.number = told.number
      AND attempts.token_hash = told.token_hash AND attempts.ended_at IS NOT NULL
""")


def receive(transaction: Transaction, told: Collection[tuple[UUID, int, bytes]], stopped: bool) -> None:
    """Note that a node has been told to stop attempts that have ended, or that it has stopped them.

    Args:
        transaction: of the worker.
        told: task, number and SHA-256 of the token of each attempt.
        stopped: whether their processes are gone.
    """
    if told:
        transaction.connection.execute(
            _DELIVERED,
            {
                "channel": transaction.channel,
                "organization": transaction.organization,
                "now": transaction.now,
                "stopped": stopped,
                "keys": [key for key, _, _ in told],
                "numbers": [number for _, number, _ in told],
                "token_hashes": [token_hash for _, _, token_hash in told],
            },
        )


_RECEIPTS = statement("""
    SELECT task_key, number, worker, node, attempts.ended_at, delivered_at, stopped_at
    FROM attempts JOIN tasks ON key = task_key
    WHERE plan_key = :plan AND channel = :channel AND outcome = $CANCELLED AND claim_id IS NOT NULL
    ORDER BY worker, node, task_key, number
""")


def receipts(transaction: Transaction, plan: UUID) -> Sequence[Row]:
    """Return the attempts of a compute plan that were cancelled while they ran."""
    rows = transaction.connection.execute(_RECEIPTS, {"plan": plan, "channel": transaction.channel})
    return rows.all()
