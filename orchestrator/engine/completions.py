"""How a task becomes Done, and what follows for its children; see `engine.endings` for the other ways to end."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.core.pokes import RUN_TASK
from orchestrator.engine import endings, kinds, outbox, plans, tasks, transitions
from orchestrator.engine.endings import Register
from orchestrator.engine.tasks import COLUMNS, RETURNED, Task
from orchestrator.engine.transaction import EVENTS, Transaction
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

# The same of many attempts. Plans are latched, and tasks locked, in the order of their keys; a child is told of the
# last of its parents, in the order of the reports.
_COMPLETE_MANY = statement(
    """
    WITH asked AS MATERIALIZED (
             SELECT key, token_hash, report_hash, ordinal
             FROM unnest(CAST(:keys AS uuid[]), CAST(:token_hashes AS bytea[]), CAST(:report_hashes AS bytea[]))
                  WITH ORDINALITY AS each (key, token_hash, report_hash, ordinal)
             LIMIT cardinality(CAST(:keys AS uuid[]))
         ),
         latch AS MATERIALIZED (
             SELECT plan_key AS key, $SHARED AS extended
             FROM (SELECT DISTINCT plan_key FROM tasks JOIN asked USING (key)
                   WHERE channel = :channel ORDER BY plan_key) AS plan
         ),
         held AS MATERIALIZED (
             SELECT task_states.key FROM asked JOIN tasks USING (key) JOIN task_states USING (key)
             WHERE channel = :channel AND $GUARD
               AND task_states.plan_key IN (SELECT key FROM latch JOIN plans USING (key, extended))
             ORDER BY task_states.key FOR NO KEY UPDATE OF task_states
         ),
         ended AS (
             UPDATE task_states SET status = $DONE, token_hash = NULL, due_at = NULL, poked_at = NULL
             FROM held JOIN asked USING (key) JOIN tasks USING (key)
             WHERE task_states.key = held.key AND $GUARD
             RETURNING $RETURNED, asked.report_hash, asked.ordinal
         ),
         below AS (
             SELECT child AS key, count(*) AS parents, max(ordinal) AS last
             FROM edges JOIN ended ON parent = ended.key GROUP BY child
         ),
         child AS (
             SELECT key, parents, last FROM task_states JOIN below USING (key)
             ORDER BY key FOR NO KEY UPDATE OF task_states
         ),
         counted AS (
             UPDATE task_states
             SET pending_parents = pending_parents - parents,
                 status = CASE WHEN status = $WAITING AND pending_parents = parents THEN $TO_DO ELSE status END,
                 poked_at = CASE WHEN status = $WAITING AND pending_parents = parents
                                 THEN CAST(:now AS timestamptz) END
             FROM child JOIN tasks USING (key) WHERE task_states.key = child.key
             RETURNING $RETURNED, rank, pending_parents, last
         ),
         decline AS (DELETE FROM declines USING ended WHERE task_key = ended.key),
         attempt AS (
             UPDATE attempts SET ended_at = :now, outcome = $DONE, report_hash = ended.report_hash
             FROM ended WHERE task_key = ended.key AND number = ended.attempts AND ended_at IS NULL
         )
    SELECT $COLUMNS, ordinal, -1 AS rank FROM ended
    UNION ALL
    SELECT $COLUMNS, last, rank FROM counted WHERE status = $TO_DO AND pending_parents = 0
    ORDER BY ordinal, rank, key
    """,
    COLUMNS=COLUMNS,
    RETURNED=RETURNED,
    SHARED=plans.shared("plan_key"),
    GUARD="""kind = ANY(CAST(:quiet_kinds AS text[])) AND status = $DOING AND worker = :organization
             AND task_states.token_hash = asked.token_hash""",
)

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
    SELECT $COLUMNS, ARRAY(SELECT DISTINCT queue FROM poke) AS poked FROM ended
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


@dataclass(frozen=True)
class Completion:
    """That an attempt is complete.

    Args:
        key: of its task.
        reason: why, for the event.
        token_hash: SHA-256 of the attempt's token.
        report_hash: SHA-256 of the report.
        register: registers what was made.
    """

    key: UUID
    reason: str
    token_hash: bytes
    report_hash: bytes
    register: Register


def complete_by_attempt(transaction: Transaction, report: Completion) -> bool:
    """Make a task Done that an attempt of the calling worker runs, and those of its children To do that can be now.

    Args:
        transaction: of the worker.
        report: of the attempt.

    Returns:
        Whether the attempt held the task; nothing is changed otherwise.
    """
    held = {"key": report.key, "token_hash": report.token_hash, "report_hash": report.report_hash}
    moved = tasks.of_rows(
        transaction.connection.execute(
            _COMPLETE_BY_ATTEMPT,
            {
                **held,
                "channel": transaction.channel,
                "organization": transaction.organization,
                "now": transaction.now,
            },
        )
    )
    transaction.locked()
    if moved:
        ended, *children = moved
    else:
        found = endings.end(
            transaction,
            endings.BY_ATTEMPT,
            report.key,
            pb.STATUS_DONE,
            token_hash=report.token_hash,
            report_hash=report.report_hash,
        )
        if found is None:
            return False
        ended, children = found, transitions.release_children(transaction, report.key)
    _follow(transaction, ended, children, report.reason, report.register)
    return True


def complete_many(transaction: Transaction, reports: Sequence[Completion]) -> set[UUID]:
    """Make those of many tasks Done that can be at once, as `complete_by_attempt` does each; return their keys.

    Those of a kind that does something when a task is Done are left.

    Args:
        transaction: of the worker.
        reports: each of another task.
    """
    rows = transaction.connection.execute(
        _COMPLETE_MANY,
        {
            "keys": [report.key for report in reports],
            "token_hashes": [report.token_hash for report in reports],
            "report_hashes": [report.report_hash for report in reports],
            "quiet_kinds": _quiet_kinds(),
            "channel": transaction.channel,
            "organization": transaction.organization,
            "now": transaction.now,
        },
    ).all()
    transaction.locked()
    moved: dict[int, list[Task]] = {}
    for row, task in zip(rows, tasks.of_rows(rows), strict=True):
        moved.setdefault(row.ordinal, []).append(task)
    for ordinal, (ended, *children) in moved.items():
        report = reports[ordinal - 1]
        _follow(transaction, ended, children, report.reason, report.register)
    return {ended.key for ended, *_ in moved.values()}


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
            "quiet_kinds": _quiet_kinds(),
            "key": key,
            "organization": transaction.organization,
            "reason": reason,
            "traceparent": transaction.traceparent,
        },
    ).one_or_none()
    if done is None:
        return False
    transaction.tells(EVENTS, *done.poked)
    return True


def _quiet_kinds() -> list[str]:
    return [kind.name for kind in kinds.every() if not kind.follows_done]


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
