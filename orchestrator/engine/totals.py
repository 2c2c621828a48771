"""How many plans and tasks are in which state, what waits in which queue, and how attempts ended: for metrics.

Counting reads what it counts, so nobody counts when asked: a sweep does, now and then, and leaves the numbers in a
table of a few rows. Plans and tasks are counted anew each time; attempts only as they end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text

from orchestrator.core.states import TASK_WORDS
from orchestrator.core.vitals import AttemptTotals, QueueTotals, StateTotals, Totals
from orchestrator.engine.attempts import UNACKNOWLEDGED
from orchestrator.engine.outbox import ANNOUNCED
from orchestrator.store.connection import Connection
from orchestrator.store.statements import statement

BUCKETS = (1, 10, 60, 600, 3600, 6 * 3600, 24 * 3600)
"""The upper bounds of the histogram of attempts, in seconds."""

_SETTLED = timedelta(seconds=15)
# What is counted is read whole: of very many tasks it may take longer than a statement usually may.
_PATIENCE = text("SET LOCAL statement_timeout = '60s'")

_CLEAR = text("DELETE FROM totals WHERE name IN ('task', 'plan', 'queue')")
# A plan whose tasks have all ended is in the state of its worst; one without any waits for its first.
_STATES = statement("""
    WITH per_plan AS (
             SELECT task_states.plan_key, status, worker, count(*) AS count
             FROM task_states JOIN tasks USING (key) GROUP BY task_states.plan_key, status, worker
         ),
         worst AS (
             SELECT plan_key, bool_and(status IN ($ENDED)) AS over, bool_or(status IN ($FAILED)) AS failed,
                    bool_or(status IN ($CANCELLED)) AS cancelled, bool_or(status IN ($DOING)) AS doing,
                    bool_or(status IN ($TO_DO)) AS to_do, bool_or(status IN ($DONE)) AS begun
             FROM per_plan GROUP BY plan_key
         )
    INSERT INTO totals (name, organization, label, count)
    SELECT 'task', worker, CAST(status AS text), sum(count) FROM per_plan GROUP BY worker, status
    UNION ALL
    SELECT 'plan', owner, state, count(*)
    FROM (SELECT owner,
                 CASE WHEN outcome IN ($FAILED) OR (over AND failed) THEN 'Failed'
                      WHEN outcome IN ($CANCELLED) OR (over AND cancelled) THEN 'Cancelled'
                      WHEN over THEN 'Done' WHEN doing OR begun THEN 'Doing' WHEN to_do THEN 'To do' ELSE 'Waiting'
                 END AS state
          FROM plans LEFT JOIN worst ON plan_key = key) AS each_plan
    GROUP BY owner, state
""")
_QUEUES = statement(
    """
    INSERT INTO totals (name, organization, label, count, seconds)
    SELECT 'queue', queue, '', count(DISTINCT poke.key), extract(epoch FROM min(poke.created_at))
    FROM ($ANNOUNCED) AS poke
    JOIN task_states ON task_states.key = poke.key AND status = $TO_DO AND attempts + 1 = attempt
    GROUP BY queue
    """,
    ANNOUNCED=ANNOUNCED,
)

_COUNTED = text("""
    INSERT INTO totals (name, organization, label, count, seconds)
    VALUES ('counted', '', '', 0, extract(epoch FROM CAST(:until AS timestamptz)))
    ON CONFLICT (name, organization, label) DO UPDATE SET seconds = greatest(totals.seconds, excluded.seconds)
    RETURNING seconds
""")
_SINCE = text("SELECT to_timestamp(seconds) FROM totals WHERE name = 'counted' FOR UPDATE")
_ATTEMPTS = text("""
    WITH ended AS (
             SELECT worker, CAST(outcome AS text) || ':' || coalesce(fault, '') AS how,
                    greatest(0, extract(epoch FROM ended_at - claimed_at)) AS seconds
             FROM unsettled
             CROSS JOIN LATERAL (
                 SELECT claimed_at, ended_at, outcome, fault FROM attempts
                 WHERE task_key = unsettled.task_key AND number = unsettled.number LIMIT 1
             ) AS attempt
             JOIN tasks ON key = task_key
             WHERE ended_at > :since AND ended_at <= :until
         )
    INSERT INTO totals (name, organization, label, count, seconds)
    SELECT 'attempt', worker, how, count(*), sum(seconds) FROM ended GROUP BY worker, how
    UNION ALL
    SELECT 'within', worker, CAST(bound AS text), count(*), 0
    FROM ended JOIN unnest(CAST(:bounds AS int[])) AS bound ON seconds <= bound GROUP BY worker, bound
    ON CONFLICT (name, organization, label)
    DO UPDATE SET count = totals.count + excluded.count, seconds = totals.seconds + excluded.seconds
""")
# What was counted is settled, but for a stop that is to be acknowledged; and so is what was forgotten.
_SETTLE = statement(
    """
    DELETE FROM unsettled WHERE ctid IN (
        SELECT unsettled.ctid FROM unsettled
        LEFT JOIN LATERAL (
            SELECT number, ended_at, $UNACKNOWLEDGED AS unacknowledged FROM attempts
            WHERE task_key = unsettled.task_key AND number = unsettled.number LIMIT 1
        ) AS attempt ON true
        WHERE attempt.number IS NULL OR (ended_at <= :until AND NOT unacknowledged))
    """,
    UNACKNOWLEDGED=UNACKNOWLEDGED,
)


def count(connection: Connection, now: datetime) -> None:
    """Count.

    Args:
        connection: inside a transaction.
        now: the time.
    """
    connection.execute(_PATIENCE)
    # Whoever counts beside waits here, and then finds nothing new.
    since = connection.execute(_SINCE).scalar_one_or_none()
    # One that ends just now may be seen late.
    until = now - _SETTLED
    connection.execute(_COUNTED, {"until": until})
    if since is not None and until > since:
        connection.execute(_ATTEMPTS, {"since": since, "until": until, "bounds": list(BUCKETS)})
    connection.execute(_SETTLE, {"until": until})
    connection.execute(_CLEAR)
    connection.execute(_STATES)
    connection.execute(_QUEUES)


_READ = text("SELECT name, organization, label, count, seconds FROM totals ORDER BY name, organization, label")


def read(connection: Connection, now: datetime) -> Totals:
    """Return what was counted last.

    Args:
        connection: inside a transaction.
        now: the time.
    """
    rows = [_Row(*row) for row in connection.execute(_READ)]
    tasks: dict[tuple[str, str], int] = {}
    for row in (row for row in rows if row.name == "task"):
        # Several states of the machine are one to people.
        state = (row.organization, TASK_WORDS[int(row.label)])  # type: ignore[index]
        tasks[state] = tasks.get(state, 0) + row.count
    return Totals(
        tasks=[StateTotals(*state, counted) for state, counted in tasks.items()],
        plans=[StateTotals(row.organization, row.label, row.count) for row in rows if row.name == "plan"],
        queues=[
            QueueTotals(row.organization, row.count, max(0.0, now.timestamp() - row.seconds))
            for row in rows
            if row.name == "queue"
        ],
        attempts=_attempts(rows),
    )


@dataclass(frozen=True)
class _Row:
    name: str
    organization: str
    label: str
    count: int
    seconds: float


def _attempts(rows: Sequence[_Row]) -> list[AttemptTotals]:
    within = {(row.organization, row.label): row.count for row in rows if row.name == "within"}
    found: dict[str, AttemptTotals] = {}
    for row in (row for row in rows if row.name == "attempt"):
        bounds = [(bound, within.get((row.organization, str(bound)), 0)) for bound in BUCKETS]
        known = found.setdefault(row.organization, AttemptTotals(row.organization, {}, bounds, 0.0))
        status, _, fault = row.label.partition(":")
        outcome = TASK_WORDS[int(status)]  # type: ignore[index]
        ended = {**known.ended, (outcome, fault): known.ended.get((outcome, fault), 0) + row.count}
        found[row.organization] = AttemptTotals(row.organization, ended, bounds, known.seconds + row.seconds)
    return list(found.values())
