"""Declines: tasks To do that the consent policy of their worker does not cover.

While a task is declined its `poked_at` is NULL, so that no sweep finds that a poke of it is due.
"""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import select

from orchestrator import protos as pb
from orchestrator.engine.transaction import Transaction
from orchestrator.store import pages, tables
from orchestrator.store.statements import statement

_DECLINE = statement("""
    WITH declined AS (
             UPDATE task_states SET due_at = NULL, poked_at = NULL, pokes = 0
             FROM tasks
             WHERE tasks.key = :key AND task_states.key = :key AND channel = :channel AND worker = :organization
               AND status = $TO_DO AND (due_at IS NULL OR due_at <= :now)
             RETURNING tasks.key, channel, worker, tasks.plan_key, attempts
         ),
         kept AS (
             INSERT INTO declines (task_key, channel, worker, plan_key, attempts, declined_at, message)
             SELECT key, channel, worker, plan_key, attempts, :now, CAST(:message AS bytea) FROM declined
             ON CONFLICT (task_key) DO UPDATE
             SET attempts = excluded.attempts, declined_at = excluded.declined_at, message = excluded.message
             WHERE (declines.attempts, declines.message) IS DISTINCT FROM (excluded.attempts, excluded.message)
             RETURNING task_key
         )
    SELECT EXISTS (SELECT FROM kept) AS news FROM declined
""")


def decline(transaction: Transaction, decline: pb.Decline) -> bool | None:
    """Keep the decline of a task To do of the calling worker.

    Args:
        transaction: of the worker.
        decline: without its time.

    Returns:
        Whether it is news; None where the task is not To do, not the caller's, or pauses before its next attempt.
    """
    news: bool | None = transaction.connection.execute(
        _DECLINE,
        {
            "key": UUID(decline.compute_task_key),
            "channel": transaction.channel,
            "organization": transaction.organization,
            "now": transaction.now,
            "message": decline.SerializeToString(deterministic=True),
        },
    ).scalar_one_or_none()
    return news


# The tasks are locked in the order of their keys, as by all who change many of them.
_RECONSIDER = statement("""
    WITH chosen AS (
             SELECT key FROM tasks JOIN task_states USING (key)
                             JOIN declines ON task_key = key AND declines.attempts = task_states.attempts
             WHERE key = ANY(CAST(:keys AS uuid[])) AND tasks.channel = :channel AND tasks.worker = :organization
               AND status = $TO_DO
             ORDER BY key FOR NO KEY UPDATE OF task_states
         ),
         gone AS (
             DELETE FROM declines USING chosen WHERE task_key = chosen.key RETURNING task_key, declines.message
         ),
         again AS (
             UPDATE task_states SET poked_at = :now, pokes = 0
             FROM gone JOIN tasks ON tasks.key = gone.task_key WHERE task_states.key = gone.task_key
             RETURNING tasks.key, task_states.attempts, queue, priority, gone.message
         )
    SELECT key, attempts, queue, priority, message FROM again ORDER BY key
""")


def reconsider(transaction: Transaction, keys: Collection[UUID]) -> list[pb.Decline]:
    """Take back the declines of tasks of the calling worker, and poke for them.

    Args:
        transaction: of the worker.
        keys: of the tasks; those that are not declined are passed over.

    Returns:
        The declines that were taken back.
    """
    parameters = {
        "keys": list(keys),
        "channel": transaction.channel,
        "organization": transaction.organization,
        "now": transaction.now,
    }
    rows = transaction.connection.execute(_RECONSIDER, parameters).all()
    transaction.locked()
    for row in rows:
        transaction.pokes.run(row.queue, row.key, row.attempts + 1, row.priority)
    return [pb.Decline.FromString(row.message) for row in rows]


def page(
    transaction: Transaction, at: pages.Page, *, worker: str, plan: UUID | None, task: UUID | None
) -> tuple[Sequence[pb.Decline], str]:
    """Return a page of the channel's declines by their time, and the token of the next page.

    Args:
        transaction: of the caller.
        at: which page.
        worker: of this organization alone; of all where empty.
        plan: of this compute plan alone.
        task: of this task alone.
    """
    table, state = tables.declines.c, tables.task_states.c
    query = (
        select(table.declined_at, table.task_key, table.message)
        .join(tables.task_states, state.key == table.task_key)
        .where(table.channel == transaction.channel, state.status == pb.STATUS_WAITING_FOR_EXECUTOR_SLOT)
        .where(state.attempts == table.attempts)
    )
    if worker:
        query = query.where(table.worker == worker)
    if plan:
        query = query.where(table.plan_key == plan)
    if task:
        query = query.where(table.task_key == task)
    order = (table.declined_at, table.task_key)
    rows, token = pages.read(transaction.connection, query, at, order, weight=table.message)
    found = []
    for row in rows:
        decline = pb.Decline.FromString(row["message"])
        decline.time.FromDatetime(row["declined_at"])
        found.append(decline)
    return found, token
