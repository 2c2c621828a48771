"""Plans and tasks that another server has registered: kept as if that had been here, at the time when it was there.

Nothing runs here meanwhile: no latch is held, and no poke is sent before `poke`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from orchestrator.core import pokes
from orchestrator.core.states import TaskStatus
from orchestrator.engine.outbox import written
from orchestrator.engine.plans import Plan
from orchestrator.engine.transaction import Transaction
from orchestrator.store.connection import Row
from orchestrator.store.statements import statement


@dataclass(frozen=True)
class NewTask:
    """A task that was registered elsewhere.

    Args:
        key: which one.
        plan: the plan that it belongs to.
        owner: the organization that registered it.
        created_at: when.
        definition: its message without the state.
        requires: what must be ready before it may run.
        worker: the organization that runs it.
        rank: how deep it lies in the graph, 0 without a parent.
        parents: the keys of its parents, each once.
    """

    key: UUID
    plan: UUID
    owner: str
    created_at: datetime
    definition: bytes
    requires: UUID
    worker: str
    rank: int
    parents: Sequence[UUID]


@dataclass(frozen=True)
class Run:
    """An attempt at a task that began, or ended, elsewhere.

    Args:
        number: 1 for the first.
        began: when; None for one that had begun before.
        ended: when; None while it runs.
        outcome: the state in which it left its task.
    """

    number: int
    began: datetime | None
    ended: datetime | None = None
    outcome: int | None = None


_PLAN = statement("""
    INSERT INTO plans (key, kind, channel, owner, ended_at, outcome)
    VALUES (:key, :kind, :channel, :owner, :ended_at, :outcome)
    ON CONFLICT (key) DO UPDATE SET ended_at = excluded.ended_at, outcome = excluded.outcome
    WHERE plans.channel = excluded.channel
""")


def keep_plans(transaction: Transaction, found: Collection[Plan]) -> int:
    """Keep plans, or how they have ended; return how many: those whose keys another channel has are passed over."""
    rows = [
        {
            "key": plan.key,
            "kind": plan.kind,
            "channel": transaction.channel,
            "owner": plan.owner,
            "ended_at": plan.ended_at,
            "outcome": plan.outcome,
        }
        for plan in found
    ]
    return transaction.connection.execute(_PLAN, rows).rowcount if rows else 0


_TASKS = statement("""
    WITH edge AS (
             INSERT INTO edges (parent, child)
             SELECT parent, child
             FROM unnest(CAST(:parents AS uuid[]), CAST(:children AS uuid[])) AS edge (parent, child)
         ),
         state AS (
             INSERT INTO task_states (key, plan_key, status, pending_parents)
             SELECT key, plan_key, 0, 0
             FROM unnest(CAST(:keys AS uuid[]), CAST(:plans AS uuid[])) AS task (key, plan_key)
         )
    INSERT INTO tasks (key, channel, owner, created_at, message, kind, plan_key, requires, worker, queue, rank)
    SELECT key, :channel, owner, created_at, message, :kind, plan_key, requires, worker, queue, rank
    FROM unnest(CAST(:keys AS uuid[]), CAST(:owners AS text[]), CAST(:times AS timestamptz[]),
                CAST(:messages AS bytea[]), CAST(:plans AS uuid[]), CAST(:required AS uuid[]),
                CAST(:workers AS text[]), CAST(:queues AS text[]), CAST(:ranks AS int[]))
         AS task (key, owner, created_at, message, plan_key, requires, worker, queue, rank)
""")


def keep_tasks(transaction: Transaction, kind: str, new: Collection[NewTask]) -> None:
    """Keep new tasks of a kind of work, and their edges; they come to their states by `move`."""
    if not new:
        return
    edges = [(parent, task.key) for task in new for parent in task.parents]
    transaction.connection.execute(
        _TASKS,
        {
            "channel": transaction.channel,
            "kind": kind,
            "keys": [task.key for task in new],
            "owners": [task.owner for task in new],
            "times": [task.created_at for task in new],
            "messages": [task.definition for task in new],
            "plans": [task.plan for task in new],
            "required": [task.requires for task in new],
            "workers": [task.worker for task in new],
            "queues": [pokes.queue(task.worker) for task in new],
            "ranks": [task.rank for task in new],
            "parents": [parent for parent, _ in edges],
            "children": [child for _, child in edges],
        },
    )


_STATES = statement("""
    SELECT task_states.key, status, attempts FROM task_states JOIN tasks USING (key)
    WHERE tasks.key = ANY(CAST(:keys AS uuid[])) AND channel = :channel FOR NO KEY UPDATE OF task_states
""")


def states(transaction: Transaction, keys: Collection[UUID]) -> dict[UUID, Row]:
    """Return the status, and the number of attempts, of those tasks of the channel that are there; lock them."""
    asked = {"keys": list(keys), "channel": transaction.channel}
    return {row.key: row for row in transaction.connection.execute(_STATES, asked)}


_MOVE = statement("""
    UPDATE task_states SET status = moved.status, attempts = moved.attempts
    FROM unnest(CAST(:keys AS uuid[]), CAST(:statuses AS smallint[]), CAST(:attempts AS int[]))
         AS moved (key, status, attempts)
    WHERE task_states.key = moved.key
""")
_BEGUN = statement("""
    WITH unsettled_attempt AS (INSERT INTO unsettled (task_key, number) VALUES (:task, :number))
    INSERT INTO attempts (task_key, number, claimed_at, ended_at, outcome)
    VALUES (:task, :number, :began, :ended, :outcome)
""")
_ENDED = statement(
    "UPDATE attempts SET ended_at = :ended, outcome = :outcome WHERE task_key = :task AND number = :number"
)


def move(
    transaction: Transaction, moved: Mapping[UUID, tuple[TaskStatus, int]], runs: Mapping[UUID, Iterable[Run]]
) -> None:
    """Move tasks to the states that they have come to.

    Args:
        transaction: it has locked them.
        moved: by key, the state of each, and how many attempts have begun.
        runs: by key, the attempts that began or ended meanwhile.
    """
    transaction.connection.execute(
        _MOVE,
        {
            "keys": list(moved),
            "statuses": [status for status, _ in moved.values()],
            "attempts": [attempts for _, attempts in moved.values()],
        },
    )
    found = [(key, run) for key, some in runs.items() for run in some]
    for query, some in (
        (_BEGUN, [each for each in found if each[1].began is not None]),
        (_ENDED, [each for each in found if each[1].began is None]),
    ):
        rows = [
            {"task": key, "number": run.number, "began": run.began, "ended": run.ended, "outcome": run.outcome}
            for key, run in some
        ]
        if rows:
            transaction.connection.execute(query, rows)


_COUNT_PARENTS = statement("""
    WITH asked AS (
             SELECT unnest(CAST(:new AS uuid[])) AS key
             UNION SELECT child FROM edges WHERE parent = ANY(CAST(:moved AS uuid[]))
         ),
         counted AS (
             SELECT asked.key, count(above.key) FILTER (WHERE above.status <> $DONE) AS pending
             FROM asked LEFT JOIN edges ON child = asked.key LEFT JOIN task_states AS above ON above.key = parent
             GROUP BY asked.key
         )
    UPDATE task_states SET pending_parents = counted.pending
    FROM counted WHERE task_states.key = counted.key AND pending_parents <> counted.pending
""")


def count_parents(transaction: Transaction, new: Collection[UUID], moved: Collection[UUID]) -> None:
    """Count the parents that new tasks wait for, and those of the children of tasks that have moved."""
    transaction.connection.execute(_COUNT_PARENTS, {"new": list(new), "moved": list(moved)})


# Once: a task that was poked for is passed over, and so is what has begun since.
_POKE = statement(
    """
    WITH due AS (
             UPDATE task_states SET poked_at = :now
             FROM tasks
             WHERE tasks.key = task_states.key AND channel = :channel AND status = $TO_DO AND poked_at IS NULL
             RETURNING task_states.key, queue, priority, attempts
         ),
         $POKE
    SELECT count(*) FROM poke
    """,
    POKE=written("""
        SELECT '$RUN_TASK', queue, priority, key, attempts + 1, CAST(:now AS timestamptz), CAST(NULL AS text) FROM due
    """),
    RUN_TASK=pokes.RUN_TASK,
)


def poke(transaction: Transaction) -> int:
    """Poke for each task of the channel that is To do and was not poked for; return how many there are."""
    found: int = transaction.connection.execute(
        _POKE, {"channel": transaction.channel, "now": transaction.now}
    ).scalar_one()
    return found
