"""How a task becomes Done, and what follows for its children; see `engine.endings` for the other ways to end."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import TextClause

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

# The same of many. Plans are latched, tasks, children and attempts locked, in the order of their keys. A task of which
# something is not to be had is left, and so is one that was declined or has very many children. A child is told of the
# last of its parents, in the order of the reports.
_COMPLETE_MANY = """
    WITH asked AS MATERIALIZED (
             SELECT key, token_hash, report_hash, organization, channel, ordinal
             FROM unnest(CAST(:keys AS uuid[]), CAST(:token_hashes AS bytea[]), CAST(:report_hashes AS bytea[]),
                         CAST(:organizations AS text[]), CAST(:channels AS text[]))
                  WITH ORDINALITY AS each (key, token_hash, report_hash, organization, channel, ordinal)
             LIMIT cardinality(CAST(:keys AS uuid[]))
         ),
         latch AS MATERIALIZED (
             SELECT plan_key AS key, $SHARED AS extended
             FROM (SELECT DISTINCT plan_key FROM tasks JOIN asked USING (key, channel) ORDER BY plan_key) AS plan
         ),
         held AS MATERIALIZED (
             SELECT task_states.key, attempts, ordinal
             FROM asked JOIN tasks USING (key, channel) JOIN task_states USING (key)
             WHERE $GUARD AND task_states.plan_key IN (SELECT key FROM latch JOIN plans USING (key, extended))
               AND NOT EXISTS (SELECT FROM declines WHERE task_key = task_states.key)
             ORDER BY task_states.key FOR NO KEY UPDATE OF task_states $LOCKED
         ),
         edge AS MATERIALIZED (
             SELECT parent, child, ordinal
             FROM held CROSS JOIN LATERAL (SELECT parent, child FROM edges WHERE parent = held.key
                                           LIMIT $FEW + 1) AS edge
         ),
         child AS MATERIALIZED (
             SELECT key FROM task_states WHERE key = ANY (ARRAY(SELECT child FROM edge))
             ORDER BY key FOR NO KEY UPDATE $LOCKED
         ),
         run AS MATERIALIZED (
             SELECT task_key, number FROM held JOIN attempts ON task_key = held.key AND number = held.attempts
             WHERE ended_at IS NULL AND (SELECT count(*) FROM child) >= 0
             ORDER BY task_key FOR NO KEY UPDATE OF attempts $LOCKED
         ),
         whole AS MATERIALIZED (
             SELECT task_key AS key, number
             FROM run LEFT JOIN edge ON parent = task_key LEFT JOIN child ON child.key = edge.child
             GROUP BY task_key, number HAVING count(edge.child) = count(child.key) AND count(edge.child) <= $FEW
         ),
         ended AS (
             UPDATE task_states SET status = $DONE, token_hash = NULL, due_at = NULL, poked_at = NULL
             FROM whole JOIN asked USING (key) JOIN tasks USING (key, channel)
             WHERE task_states.key = whole.key AND $GUARD
             RETURNING $RETURNED, asked.report_hash, asked.ordinal
         ),
         below AS (
             SELECT child AS key, count(*) AS parents, max(edge.ordinal) AS last
             FROM edge JOIN ended ON parent = ended.key GROUP BY child
         ),
         counted AS (
             UPDATE task_states
             SET pending_parents = pending_parents - parents,
                 status = CASE WHEN status = $WAITING AND pending_parents = parents THEN $TO_DO ELSE status END,
                 poked_at = CASE WHEN status = $WAITING AND pending_parents = parents
                                 THEN CAST(:now AS timestamptz) END
             FROM below JOIN tasks USING (key)
             WHERE task_states.key = below.key AND task_states.key = ANY (ARRAY(SELECT key FROM below))
             RETURNING $RETURNED, rank, pending_parents, last
         ),
         attempt AS (
             UPDATE attempts SET ended_at = :now, outcome = $DONE, report_hash = ended.report_hash
             FROM ended WHERE task_key = ended.key AND number = ended.attempts
         )
    SELECT $COLUMNS, ordinal, -1 AS rank FROM ended
    UNION ALL
    SELECT $COLUMNS, last, rank FROM counted WHERE status = $TO_DO AND pending_parents = 0
    ORDER BY ordinal, rank, key
"""
_FEW = 100


def _complete_many(shared: str, locked: str) -> TextClause:
    return statement(
        _COMPLETE_MANY,
        COLUMNS=COLUMNS,
        RETURNED=RETURNED,
        SHARED=shared,
        LOCKED=locked,
        FEW=str(_FEW),
        GUARD="""kind = ANY(CAST(:quiet_kinds AS text[])) AND status = $DOING AND worker = organization
                 AND task_states.token_hash IS NOT DISTINCT FROM asked.token_hash""",
    )


_COMPLETE_IN_TURN = _complete_many(plans.shared("plan_key"), "")
_COMPLETE_FREE = _complete_many(plans.shared_if_free("plan_key"), "SKIP LOCKED")

_COMPLETE_BY_ATTEMPT = statement(
    """
    $MADE_DONE
         attempt AS (
             UPDATE attempts SET ended_at = :now, outcome = $DONE, report_hash = :report_hash
             FROM ended WHERE task_key = ended.key AND number = ended.attempts AND ended_at IS NULL
         )
    SELECT $COLUMNS, 0 AS ordinal FROM ended UNION ALL SELECT $COLUMNS, ordinal FROM ready ORDER BY ordinal
    """,
    GUARD=endings.OF_ATTEMPT,
    **_PARTS,
)

# All of an ending that is reported with nothing else. Its events draw their number when the children are locked. The
# children are joined to the few states, not these to them: wide rows would all be copied once more.
_COMPLETE_ALONE = statement(
    """
    $MADE_DONE
         $CALL,
         attempt AS (
             UPDATE attempts SET ended_at = (SELECT now FROM call), outcome = $DONE
             FROM ended WHERE task_key = ended.key AND number = ended.attempts AND ended_at IS NULL
         ),
         moved AS (
             SELECT CAST(0 AS bigint) AS ordinal, CAST(:channel AS text) AS channel, asset_kind, key,
                    message || state AS asset, jsonb_build_object('reason', CAST(:reason AS text)) AS metadata
             FROM ended JOIN $DONE_STATES USING (kind)
             UNION ALL
             SELECT ordinal, :channel, asset_kind, key, message || state,
                    (SELECT jsonb_build_object('reason', format('its last parent %s is Done', CAST(:key AS uuid))))
             FROM $READY_STATES
             CROSS JOIN LATERAL (SELECT key, message, ordinal FROM ready WHERE kind = to_do.kind OFFSET 0) AS ready
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
        FROM ready ORDER BY ordinal
    """),
    RUN_TASK=RUN_TASK,
    **_PARTS,
)


@dataclass(frozen=True)
class Completion:
    """That an attempt is complete, or a task that is run without one.

    Args:
        key: of its task.
        reason: why, for the event.
        token_hash: SHA-256 of the attempt's token; None without an attempt.
        report_hash: SHA-256 of the attempt's report; None without an attempt.
        register: registers what was made; None where nothing is to be.
    """

    key: UUID
    reason: str
    token_hash: bytes | None = None
    report_hash: bytes | None = None
    register: Register | None = None


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


def complete_many(asked: Sequence[tuple[Transaction, Completion]], *, free: bool = False) -> set[UUID]:
    """Make those of many tasks Done that can be at once, with all that follows for their children.

    Those that have very many children are left, and those of a kind that does something when a task is Done.

    Args:
        asked: each of another task, with the transaction of its worker; all on one connection.
        free: only those of which nobody else has locked anything.

    Returns:
        The keys of those that are Done.
    """
    if not asked:
        return set()
    first, _ = asked[0]
    rows = first.connection.execute(
        _COMPLETE_FREE if free else _COMPLETE_IN_TURN,
        {
            "keys": [report.key for _, report in asked],
            "token_hashes": [report.token_hash for _, report in asked],
            "report_hashes": [report.report_hash for _, report in asked],
            "organizations": [transaction.organization for transaction, _ in asked],
            "channels": [transaction.channel for transaction, _ in asked],
            "quiet_kinds": _quiet_kinds(),
            "now": first.now,
        },
    ).all()
    first.locked_with(transaction for transaction, _ in asked)
    moved: dict[int, list[Task]] = {}
    for row, task in zip(rows, tasks.of_rows(rows), strict=True):
        moved.setdefault(row.ordinal, []).append(task)
    for ordinal, (ended, *children) in moved.items():
        transaction, report = asked[ordinal - 1]
        _follow(transaction, ended, children, report.reason, report.register)
    return {ended.key for ended, *_ in moved.values()}


def complete_by_worker(transaction: Transaction, report: Completion) -> bool:
    """Make a task Done that the calling worker runs without an attempt; see `complete_by_attempt`."""
    if _completed_alone(transaction, report.key, report.reason):
        return True
    ended = endings.end(transaction, endings.BY_WORKER, report.key, pb.STATUS_DONE)
    if ended is None:
        return False
    _follow(transaction, ended, transitions.release_children(transaction, report.key), report.reason, None)
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
            **events.moved_parameters(transaction.now),
            "quiet_kinds": _quiet_kinds(),
            "key": key,
            "organization": transaction.organization,
            "channel": transaction.channel,
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
