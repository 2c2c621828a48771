"""The SQL of the transitions of tasks that do not end them; those that do stand in `engine.endings`.

Each transition is one compare-and-set on the row of the task's state. Its plan is a latch (`engine.plans`): what may
change the graph or end the plan holds it alone, a Done shares it, so that a Done and the registration of a child always
see each other. Locks are taken in the order functions, plans, compute plans, tasks, attempts, and in the order of keys
within each.
"""

from datetime import datetime
from string import Template
from uuid import UUID

from sqlalchemy import TextClause

from orchestrator.core.states import TaskStatus
from orchestrator.engine import tasks
from orchestrator.engine.tasks import COLUMNS, RETURNED, Task
from orchestrator.engine.transaction import Transaction
from orchestrator.store.statements import statement

_RETRY = """
    WITH $EXPIRED again AS (
             UPDATE task_states
             SET status = $TO_DO, token_hash = NULL, due_at = :due, pokes = 0,
                 poked_at = CASE WHEN CAST(:due AS timestamptz) IS NULL THEN CAST(:now AS timestamptz) END
             FROM tasks
             WHERE tasks.key = :key AND task_states.key = :key AND channel = :channel AND status = $DOING
               AND attempts = :number AND token_hash = CAST(:token_hash AS bytea) AND $GUARD
             RETURNING $RETURNED
         ),
         attempt AS (
             UPDATE attempts SET ended_at = :now, outcome = $TO_DO, fault = :fault, report_hash = :report_hash
             FROM again WHERE task_key = again.key AND number = again.attempts AND ended_at IS NULL
         )
    SELECT $COLUMNS FROM again
"""
EXPIRED = """
         held AS (
             SELECT key FROM task_states WHERE key = :key AND status = $DOING AND attempts = :number
             FOR NO KEY UPDATE SKIP LOCKED
         ),
         expired AS (
             SELECT task_key FROM attempts JOIN held ON task_key = held.key
             WHERE number = :number AND ended_at IS NULL AND lease_until < CAST(:expired AS timestamptz)
             FOR NO KEY UPDATE OF attempts SKIP LOCKED
         ),
"""
"""Of a sweep: the attempt, if its lease has ended. It locks the task before the attempt, as a report does, and passes
over what others hold: a report, or a heartbeat, is on its way."""

_RETRY_BY_ATTEMPT = statement(_RETRY, COLUMNS=COLUMNS, RETURNED=RETURNED, EXPIRED="", GUARD="worker = :organization")
_RETRY_BY_SWEEP = statement(
    _RETRY, COLUMNS=COLUMNS, RETURNED=RETURNED, EXPIRED=EXPIRED, GUARD="EXISTS (SELECT FROM expired)"
)


def retry_by_attempt(
    transaction: Transaction,
    key: UUID,
    number: int,
    token_hash: bytes,
    *,
    due: datetime | None,
    fault: str | None,
    report_hash: bytes,
) -> Task | None:
    """Move a task of the calling worker from Doing back to To do, and end the attempt that ran it.

    Args:
        transaction: of its worker.
        key: which task.
        number: of the attempt.
        token_hash: SHA-256 of its token.
        due: when it may be claimed again; None for at once.
        fault: what ended the attempt, None when it was released.
        report_hash: SHA-256 of the call that reports it.

    Returns:
        The task, or None where the guard held it: nothing was changed.
    """
    return _retried(
        transaction,
        _RETRY_BY_ATTEMPT,
        key,
        number,
        token_hash,
        due=due,
        fault=fault,
        report_hash=report_hash,
        organization=transaction.organization,
    )


def retry_by_sweep(
    transaction: Transaction, key: UUID, number: int, token_hash: bytes, *, due: datetime, fault: str, expired: datetime
) -> Task | None:
    """Move a task whose worker is lost from Doing back to To do, and end the attempt that ran it.

    Args:
        transaction: of nobody.
        key: which task.
        number: of the attempt.
        token_hash: SHA-256 of its token.
        due: when it may be claimed again.
        fault: what ended the attempt.
        expired: only if its lease ended before this moment.

    Returns:
        The task, or None where the guard held it: nothing was changed.
    """
    return _retried(
        transaction,
        _RETRY_BY_SWEEP,
        key,
        number,
        token_hash,
        due=due,
        fault=fault,
        report_hash=None,
        expired=expired,
    )


def _retried(
    transaction: Transaction, retry: TextClause, key: UUID, number: int, token_hash: bytes, **parameters: object
) -> Task | None:
    again = tasks.moved(
        transaction,
        retry,
        {
            "key": key,
            "number": number,
            "channel": transaction.channel,
            "token_hash": token_hash,
            "now": transaction.now,
            **parameters,
        },
    )
    transaction.locked()
    return again[0] if again else None


def counted(children: str) -> str:
    """Return what stands in a statement that makes a task Done: its children, `counted`, and of these the `ready` ones.

    These have an `ordinal`, from 1. What they are is read when they are counted: definitions are wide, and go one way.

    Of the elements of an array Postgres expects ten, and looks each up. Of a join it expects as many as parents have on
    an average, which one parent of thousands makes hundreds, and for these it would rather read all tasks.

    Args:
        children: selects their keys.
    """
    return Template("""
         child AS (
             SELECT key FROM task_states WHERE key = ANY (ARRAY($CHILDREN))
             ORDER BY key FOR NO KEY UPDATE
         ),
         counted AS (
             UPDATE task_states
             SET pending_parents = pending_parents - 1,
                 status = CASE WHEN status = $$WAITING AND pending_parents = 1 THEN $$TO_DO ELSE status END,
                 poked_at = CASE WHEN status = $$WAITING AND pending_parents = 1 THEN CAST(:now AS timestamptz) END
             WHERE key = ANY (ARRAY(SELECT key FROM child))
             RETURNING key, attempts, status, pending_parents
         ),
         ready AS (
             SELECT $COLUMNS, row_number() OVER (ORDER BY rank, key) AS ordinal
             FROM counted JOIN tasks USING (key) WHERE status = $$TO_DO AND pending_parents = 0
         )
""").substitute(COLUMNS=COLUMNS, CHILDREN=children)


_RELEASE = statement(
    "WITH $COUNTED SELECT $COLUMNS FROM ready ORDER BY ordinal",
    COLUMNS=COLUMNS,
    COUNTED=counted("SELECT child FROM edges WHERE parent = :key"),
)


def release_children(transaction: Transaction, parent: UUID) -> list[Task]:
    """Tell a task's children that it is Done; return those that are To do now."""
    return tasks.moved(transaction, _RELEASE, {"key": parent, "now": transaction.now})


_WAITING_FOR = statement("""
    SELECT DISTINCT tasks.plan_key FROM tasks JOIN task_states USING (key)
    WHERE requires = :requirement AND status = $BUILDING
""")


def plans_building(transaction: Transaction, requirement: UUID) -> list[UUID]:
    """Return the plans whose tasks are Building because of what they require."""
    return list(transaction.connection.execute(_WAITING_FOR, {"requirement": requirement}).scalars())


_FOLLOW = statement(
    """
    WITH chosen AS (
             SELECT key FROM tasks JOIN task_states USING (key) WHERE requires = :requirement AND status = :source
             ORDER BY key FOR NO KEY UPDATE OF task_states
         ),
         moved AS (
             UPDATE task_states
             SET status = CASE WHEN :target = $TO_DO AND pending_parents > 0 THEN $WAITING ELSE :target END,
                 poked_at = CASE WHEN :target = $TO_DO AND pending_parents = 0 THEN CAST(:now AS timestamptz) END
             FROM chosen JOIN tasks USING (key) WHERE task_states.key = chosen.key
             RETURNING $RETURNED, rank
         )
    SELECT $COLUMNS FROM moved ORDER BY rank, key
    """,
    COLUMNS=COLUMNS,
    RETURNED=RETURNED,
)


def follow(transaction: Transaction, requirement: UUID, source: TaskStatus, target: TaskStatus) -> list[Task]:
    """Move the tasks that require something, which the transaction has locked, after it changed; return them.

    Args:
        transaction: of its owner.
        requirement: what they require: a function.
        source: the state of the tasks to move.
        target: where to; To do means Waiting for those whose parents are not all Done.
    """
    parameters = {"requirement": requirement, "source": source, "target": target, "now": transaction.now}
    found = tasks.moved(transaction, _FOLLOW, parameters)
    transaction.locked()
    return found
