"""How a task becomes Done, and what follows for its children; see `engine.endings` for the other ways to end."""

from uuid import UUID

from orchestrator import protos as pb
from orchestrator.core.pokes import RUN_TASK
from orchestrator.engine import endings, kinds, plans, transitions
from orchestrator.engine.endings import Register
from orchestrator.engine.tasks import COLUMNS, RETURNED, Task
from orchestrator.engine.transaction import EVENTS, POKES, Transaction
from orchestrator.store.statements import statement
from orchestrator.trace import events

# All of an ending that is reported with nothing else. Its snapshot may be older than its latch: where the graph was
# extended between, the latch says so, and it does nothing. Its events draw their number when the children are locked.
_COMPLETE_ALONE = statement(
    """
    WITH latch AS MATERIALIZED (SELECT plan_key AS key, $SHARED AS extended FROM tasks WHERE key = :key),
         ended AS (
             UPDATE task_states SET status = $DONE, due_at = NULL, poked_at = NULL
             FROM tasks
             WHERE tasks.key = :key AND task_states.key = :key AND channel = :channel
               AND kind = ANY(CAST(:quiet_kinds AS text[])) AND $GUARD
               AND task_states.plan_key = (SELECT key FROM latch JOIN plans USING (key, extended))
             RETURNING $RETURNED
         ),
         $COUNTED,
         $CALL,
         attempt AS (
             UPDATE attempts SET ended_at = (SELECT now FROM call), outcome = $DONE
             FROM ended WHERE task_key = ended.key AND number = ended.attempts AND ended_at IS NULL
         ),
         decline AS (DELETE FROM declines USING ended WHERE task_key = ended.key),
         moved AS (
             SELECT CAST(0 AS bigint) AS ordinal, asset_kind, key, message || state AS asset,
                    CAST(:reason AS text) AS reason
             FROM ended JOIN $DONE_STATES USING (kind)
             UNION ALL
             SELECT row_number() OVER (ORDER BY rank, key), asset_kind, key, message || state,
                    format('its last parent %s is Done', CAST(:key AS uuid))
             FROM ready JOIN $READY_STATES USING (kind)
         ),
         event AS ($MOVED),
         poke AS (
             INSERT INTO outbox (message, queue, priority, key, attempt, created_at)
             SELECT '$RUN_TASK', queue, priority, key, attempts + 1, (SELECT now FROM call)
             FROM ready ORDER BY rank, key
         )
    SELECT $COLUMNS, (SELECT count(*) FROM ready) AS released FROM ended
    """,
    COLUMNS=COLUMNS,
    RETURNED=RETURNED,
    SHARED=plans.shared("plan_key"),
    GUARD=endings.WITHOUT_ATTEMPT,
    COUNTED=transitions.counted("SELECT child FROM edges JOIN ended ON parent = ended.key"),
    CALL=events.call("ready"),
    DONE_STATES=kinds.states("done"),
    READY_STATES=kinds.states("to_do"),
    MOVED=events.MOVED,
    RUN_TASK=RUN_TASK,
)


def complete_by_attempt(
    transaction: Transaction,
    key: UUID,
    reason: str,
    *,
    token_hash: bytes,
    report_hash: bytes,
    register: Register,
) -> bool:
    """Make a task Done that an attempt of the calling worker runs, and those of its children To do that can be now.

    Args:
        transaction: of the worker.
        key: which task.
        reason: why, for the event.
        token_hash: SHA-256 of the attempt's token.
        report_hash: SHA-256 of the report.
        register: registers what was made.

    Returns:
        Whether the attempt held the task; nothing is changed otherwise.
    """
    ended = endings.end(
        transaction, endings.BY_ATTEMPT, key, pb.STATUS_DONE, token_hash=token_hash, report_hash=report_hash
    )
    return _completed(transaction, ended, reason, register)


def complete_by_worker(transaction: Transaction, key: UUID, reason: str) -> bool:
    """Make a task Done that the calling worker runs without an attempt; see `complete_by_attempt`."""
    if _completed_alone(transaction, key, reason):
        return True
    return _completed(transaction, endings.end(transaction, endings.BY_WORKER, key, pb.STATUS_DONE), reason, None)


def _completed_alone(transaction: Transaction, key: UUID, reason: str) -> bool:
    """Make a task Done in one statement; return False where that cannot be, or may not."""
    done = transaction.alone(
        _COMPLETE_ALONE,
        {
            **kinds.state_parameters("done", pb.STATUS_DONE),
            **kinds.state_parameters("to_do", pb.STATUS_WAITING_FOR_EXECUTOR_SLOT),
            **events.moved_parameters(transaction.now, transaction.channel),
            "quiet_kinds": [kind.name for kind in kinds.every() if not kind.follows_done],
            "key": key,
            "organization": transaction.organization,
            "reason": reason,
        },
    ).one_or_none()
    if done is None:
        return False
    transaction.tells(EVENTS, *([POKES] if done.released else []))
    return True


def _completed(transaction: Transaction, ended: Task | None, reason: str, register: Register | None) -> bool:
    if ended is None:
        return False
    children = transitions.release_children(transaction, ended.key)
    if register:
        register(ended)
    kinds.tell(transaction, ended, reason)
    for child in children:
        kinds.tell(transaction, child, f"its last parent {ended.key} is Done")
        kinds.poke(transaction, child)
    kinds.of(ended.kind).ended(transaction, ended)
    return True
