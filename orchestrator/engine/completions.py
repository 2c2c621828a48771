"""How a task becomes Done, and what follows for its children; see `engine.endings` for the other ways to end."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.core.pokes import RUN_TASK
from orchestrator.engine import endings, kinds, outbox, plans, tasks, transitions
from orchestrator.engine.endings import Register
from orchestrator.engine.tasks import COLUMNS, RETURNED, Task
from orchestrator.engine.transaction import EVENTS, POKES, Transaction
from orchestrator.store.statements import statement
from orchestrator.trace import events

# Its snapshot may be older than its latch: where the graph grew between, the latch says so, and it does nothing.
_MADE_DONE = """
    WITH latch AS MATERIALIZED (SELECT plan_key AS key, $SHARED AS extended FROM tasks WHERE key = :key),
         ended AS (
             UPDATE task_states SET status = $DONE, token_hash = NULL, due_at = NULL, poked_at = NULL
             FROM tasks
             WHERE tasks.key = :key AND task_states.key = :key AND channel = :channel AND $GUARD
               AND task_states.plan_key = (SELECT key FROM latch JOIN plans USING (key, extended))
             RETURNING $RETURNED
         ),
         $COUNTED,
         decline AS (DELETE FROM declines USING ended WHERE task_key = ended.key),
"""
_PARTS = {
    "MADE_DONE": _MADE_DONE,
    "COLUMNS": COLUMNS,
    "RETURNED": RETURNED,
    "SHARED": plans.shared("plan_key"),
    "COUNTED": transitions.counted("SELECT child FROM edges JOIN ended ON parent = ended.key"),
}

_COMPLETE_BY_ATTEMPT = statement(
    """
    $MADE_DONE
         attempt AS (
             UPDATE attempts SET ended_at = :now, outcome = $DONE, report_hash = :report_hash
             FROM ended WHERE task_key = ended.key AND number = ended.attempts AND ended_at IS NULL
         )
    SELECT $COLUMNS, -1 AS rank FROM ended UNION ALL SELECT $COLUMNS, rank FROM ready ORDER BY rank, key
    """,
    GUARD=endings.OF_ATTEMPT,
    **_PARTS,
)

# All of an ending that is reported with nothing else. Its events draw their number when the children are locked.
_COMPLETE_ALONE = statement(
    """
    $MADE_DONE
         $CALL,
         attempt AS (
             UPDATE attempts SET ended_at = (SELECT now FROM call), outcome = $DONE
             FROM ended WHERE task_key = ended.key AND number = ended.attempts AND ended_at IS NULL
         ),
         moved AS (
             SELECT CAST(0 AS bigint) AS ordinal, asset_kind, key, message || state AS asset,
                    CAST(:reason AS text) AS reason
             FROM ended JOIN $DONE_STATES USING (kind)
             UNION ALL
             SELECT row_number() OVER (ORDER BY rank, key), asset_kind, key, message || state,
                    format('its last parent %s is Done', CAST(:key AS uuid))
             FROM ready JOIN $READY_STATES USING (kind)
         ),
         $MOVED,
         $POKE
    SELECT $COLUMNS, (SELECT count(*) FROM ready) AS released FROM ended
    """,
    GUARD=f"kind = ANY(CAST(:quiet_kinds AS text[])) AND {endings.WITHOUT_ATTEMPT}",
    CALL=events.call("ready"),
    DONE_STATES=kinds.states("done"),
    READY_STATES=kinds.states("to_do"),
    MOVED=events.MOVED,
    POKE=outbox.written("""
        SELECT '$RUN_TASK', queue, priority, key, attempts + 1, (SELECT now FROM call), CAST(:traceparent AS text)
        FROM ready ORDER BY rank, key
    """),
    RUN_TASK=RUN_TASK,
    **_PARTS,
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
    moved = tasks.of_rows(
        transaction.connection.execute(
            _COMPLETE_BY_ATTEMPT,
            {
                "key": key,
                "channel": transaction.channel,
                "organization": transaction.organization,
                "now": transaction.now,
                "token_hash": token_hash,
                "report_hash": report_hash,
            },
        )
    )
    transaction.locked()
    if moved:
        ended, *children = moved
    else:
        found = endings.end(
            transaction, endings.BY_ATTEMPT, key, pb.STATUS_DONE, token_hash=token_hash, report_hash=report_hash
        )
        if found is None:
            return False
        ended, children = found, transitions.release_children(transaction, key)
    _follow(transaction, ended, children, reason, register)
    return True


def complete_by_worker(transaction: Transaction, key: UUID, reason: str) -> bool:
    """Make a task Done that the calling worker runs without an attempt; see `complete_by_attempt`."""
    if _completed_alone(transaction, key, reason):
        return True
    ended = endings.end(transaction, endings.BY_WORKER, key, pb.STATUS_DONE)
    if ended is None:
        return False
    _follow(transaction, ended, transitions.release_children(transaction, key), reason, None)
    return True


_COMPLETE_UNCLAIMED = statement(
    """
    WITH ended AS (
             UPDATE task_states SET status = $DONE, attempts = attempts + 1, due_at = NULL, poked_at = NULL
             FROM tasks
             WHERE tasks.key = :key AND task_states.key = :key AND channel = :channel AND queue = '' AND status = $TO_DO
             RETURNING $RETURNED
         ),
         attempt AS (
             INSERT INTO attempts (task_key, number, claimed_at, ended_at, outcome)
             SELECT key, attempts, :now, :now, $DONE FROM ended
         ),
         unsettled_attempt AS (INSERT INTO unsettled (task_key, number) SELECT key, attempts FROM ended)
    SELECT $COLUMNS FROM ended
    """,
    COLUMNS=COLUMNS,
    RETURNED=RETURNED,
)


def complete_unclaimed(transaction: Transaction, key: UUID, reason: str) -> bool:
    """Make a task Done that is To do and has no queue, and those of its children To do that can be now.

    Args:
        transaction: of its kind; it holds or shares the latch of the plan, which has not grown since.
        key: which task.
        reason: why, for the events.

    Returns:
        Whether it was To do; nothing is changed otherwise.
    """
    parameters = {"key": key, "channel": transaction.channel, "now": transaction.now}
    moved = tasks.moved(transaction, _COMPLETE_UNCLAIMED, parameters)
    transaction.locked()
    if not moved:
        return False
    kinds.tell(transaction, replace(moved[0], status=pb.STATUS_EXECUTING), reason)
    _follow(transaction, moved[0], transitions.release_children(transaction, key), reason, None)
    return True


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
            "traceparent": transaction.traceparent,
        },
    ).one_or_none()
    if done is None:
        return False
    transaction.tells(EVENTS, *([POKES] if done.released else []))
    return True


def _follow(
    transaction: Transaction, ended: Task, children: Sequence[Task], reason: str, register: Register | None
) -> None:
    if register:
        register(ended)
    kinds.tell(transaction, ended, reason)
    for child in children:
        kinds.tell(transaction, child, f"its last parent {ended.key} is Done")
        kinds.poke(transaction, child)
    kinds.of(ended.kind).ended(transaction, ended)
