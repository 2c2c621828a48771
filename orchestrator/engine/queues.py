"""Queues: whether anybody reads them, since when, and the order of what waits in them."""

from collections.abc import Collection
from uuid import UUID

from orchestrator.core.pokes import RUN_TASK
from orchestrator.engine import outbox
from orchestrator.engine.transaction import Transaction
from orchestrator.store.statements import statement

HEARD = """
    heard_queue AS (
             INSERT INTO queues (name, heard_at, since)
             SELECT :queue, :now, :now
             WHERE NOT EXISTS (SELECT FROM queues WHERE name = :queue
                               AND heard_at > CAST(:now AS timestamptz) - CAST(:silence AS interval) / 100)
             ON CONFLICT (name) DO UPDATE
             SET since = CASE WHEN queues.heard_at < CAST(:now AS timestamptz) - CAST(:silence AS interval)
                              THEN :now ELSE queues.since END,
                 heard_at = greatest(queues.heard_at, :now)
         )
"""
"""What notes, in a statement, that `:queue` is read `:now`.

Its row is one for all nodes, who would wait for each other's commits: so it is written again only where it is older
than a hundredth of the silence.
"""

_PUT_BEHIND = statement(
    """
    WITH lowered AS (
             UPDATE tasks SET priority = :priority WHERE key = ANY(CAST(:keys AS uuid[])) AND channel = :channel
             RETURNING key, queue, priority
         ),
         dropped AS (
             DELETE FROM outbox
             WHERE id IN (SELECT id FROM outbox JOIN lowered ON outbox.key = lowered.key
                          WHERE sent_at IS NULL AND message = '$RUN_TASK' FOR UPDATE OF outbox SKIP LOCKED)
             RETURNING id, queue, priority
         ),
         taken AS (
             DELETE FROM unsent_pokes AS unsent USING dropped
             WHERE unsent.queue = dropped.queue AND unsent.priority = dropped.priority AND unsent.id = dropped.id
         ),
         $POKE
    SELECT DISTINCT queue FROM poke
    """,
    POKE=outbox.written("""
        SELECT '$RUN_TASK', queue, priority, lowered.key, attempts + 1, CAST(:now AS timestamptz), CAST(NULL AS text)
        FROM lowered JOIN task_states ON task_states.key = lowered.key WHERE status = $TO_DO AND due_at IS NULL
        ORDER BY lowered.key
    """),
    RUN_TASK=RUN_TASK,
)


def put_behind(transaction: Transaction, keys: Collection[UUID], priority: int) -> None:
    """Give tasks another priority, and have those To do announced anew, after all others of that priority.

    A poke that was sent before may still be claimed by; whose kind minds that guards its claims.

    Args:
        transaction: that holds the latches of their plans.
        keys: the tasks.
        priority: of their pokes from now on.
    """
    parameters = {"keys": list(keys), "priority": priority, "channel": transaction.channel, "now": transaction.now}
    transaction.tells(*transaction.connection.execute(_PUT_BEHIND, parameters).scalars())


_ANNOUNCE_AGAIN = statement(
    """
    WITH again AS (
             UPDATE outbox SET sent_at = NULL
             FROM sent_pokes AS out JOIN task_states ON task_states.key = out.key
             WHERE out.queue = :queue AND outbox.id = out.id AND outbox.sent_at IS NOT NULL
               AND status = $TO_DO AND attempts + 1 = out.attempt
             RETURNING outbox.id, outbox.queue, outbox.priority, outbox.message
         ),
         taken AS (DELETE FROM sent_pokes AS out USING again WHERE out.queue = :queue AND out.id = again.id)
    $UNSENT FROM again
    """,
    UNSENT=outbox.UNSENT,
)


def announce_again(transaction: Transaction, name: str) -> None:
    """Send the pokes of a queue once more that were sent and not claimed: those who read it took them in vain."""
    if transaction.connection.execute(_ANNOUNCE_AGAIN, {"queue": name}).rowcount:
        transaction.tells(name)
