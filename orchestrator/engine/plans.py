"""Plans: the latch of their tasks, and how all tasks of one end.

A plan's latch is what every change of its graph, and everything that ends it, holds alone; a Done shares it. It is an
advisory lock, which many can share without a write; who holds it alone locks the plan's row too, to read it anew.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import TextClause

from orchestrator.core.errors import ConflictError, NotFoundError
from orchestrator.core.states import TaskStatus
from orchestrator.engine import kinds, outbox, tasks
from orchestrator.engine.tasks import COLUMNS, RETURNED, Task
from orchestrator.engine.transaction import Transaction
from orchestrator.store.statements import statement


@dataclass(frozen=True)
class Plan:
    """A plan as its row has it.

    Args:
        key: which one.
        kind: of work.
        owner: the organization that registered it.
        ended_at: when it was cancelled or failed first, None while neither.
        outcome: Cancelled or Failed, None while neither.
    """

    key: UUID
    kind: str
    owner: str
    ended_at: datetime | None
    outcome: "TaskStatus | None"


_REGISTER = statement("""
    INSERT INTO plans (key, kind, channel, owner) VALUES (:key, :kind, :channel, :owner)
    ON CONFLICT DO NOTHING RETURNING key
""")


def register(transaction: Transaction, key: UUID, kind: str) -> None:
    """Keep a new plan of the caller.

    Raises:
        ConflictError: its key is taken, in this channel or in another.
    """
    new = {"key": key, "kind": kind, "channel": transaction.channel, "owner": transaction.organization}
    if not transaction.connection.execute(_REGISTER, new):
        raise ConflictError(f"{kinds.of(kind).plan_noun} {key} exists already")


_OF_CHANNEL = """
    SELECT key, kind, owner, ended_at, outcome FROM plans
    WHERE $KEYS AND channel = :channel $ALONE ORDER BY key
"""
# Of an array Postgres expects ten keys where it does not know it, and so plans anew each time: a call has one mostly.
_ONE, _ANY = "key = :key", "key = ANY(CAST(:keys AS uuid[]))"
# As `share_latch` of the database names it.
_LATCH = "hashtextextended(CAST(plans.key AS text), 0)"
_GET = statement(_OF_CHANNEL, ALONE="", KEYS=_ONE)
_HOLD, _HOLD_ANY = (
    statement(
        """
        WITH latch AS MATERIALIZED (
                 SELECT pg_advisory_xact_lock($LATCH) FROM plans WHERE $KEYS AND channel = :channel ORDER BY key
             )
        $OF_CHANNEL FOR NO KEY UPDATE
        """,
        OF_CHANNEL=_OF_CHANNEL,
        LATCH=_LATCH,
        ALONE="AND (SELECT count(*) FROM latch) > 0",
        KEYS=keys,
    )
    for keys in (_ONE, _ANY)
)


def held(wanted: str, after: str) -> str:
    """Return what holds plans in a statement until the transaction ends, as the table `plan` of their rows.

    Args:
        wanted: the table of their keys.
        after: the table that has what is locked before plans.
    """
    return f"""
         latch AS MATERIALIZED (
             SELECT pg_advisory_xact_lock({_LATCH}) FROM plans
             WHERE key IN (SELECT key FROM {wanted}) AND channel = :channel AND (SELECT count(*) FROM {after}) >= 0
             ORDER BY key
         ),
         plan AS MATERIALIZED (
             SELECT key, kind, owner, ended_at, outcome FROM plans
             WHERE key IN (SELECT key FROM {wanted}) AND channel = :channel AND (SELECT count(*) FROM latch) > 0
             ORDER BY key FOR NO KEY UPDATE
         )
    """  # noqa: S608 - constants


def shared(plan: str) -> str:
    """Return what shares a plan's latch, in a statement, until the transaction ends.

    Its value is how often the plan was extended, as of then; the statement itself may see what was before.

    Args:
        plan: the plan's key, in SQL.
    """
    return f"share_latch({plan})"


def shared_if_free(plan: str) -> str:
    """Return the same, NULL where another transaction holds the latch alone, or waits for it: so it waits for nobody.

    Args:
        plan: the plan's key, in SQL.
    """
    latch = f"hashtextextended(CAST({plan} AS text), 0)"
    return f"CASE WHEN pg_try_advisory_xact_lock_shared({latch}) THEN {shared(plan)} END"


_SHARE = statement("SELECT $SHARED FROM plans WHERE key = :key AND channel = :channel", SHARED=shared("key"))


def get(transaction: Transaction, key: UUID) -> Plan:
    """Return a plan of this channel.

    Raises:
        NotFoundError: the channel has none with this key.
    """
    found = _read(transaction, _GET, key=key)
    if not found:
        raise NotFoundError(f"plan {key} does not exist")
    return found[key]


def hold(transaction: Transaction, keys: Collection[UUID]) -> dict[UUID, Plan]:
    """Hold the latches of those plans of this channel that exist, until the transaction ends; return them by key."""
    if not keys:
        return {}
    if len(keys) == 1:
        held = _read(transaction, _HOLD, key=next(iter(keys)))
    else:
        held = _read(transaction, _HOLD_ANY, keys=list(keys))
    transaction.locked()
    return held


_GUARD = statement("SELECT FROM plans WHERE key = :key AND channel = :channel FOR NO KEY UPDATE")


def guard(transaction: Transaction, key: UUID) -> None:
    """Keep others from holding a plan's latch, and so from ending it, until the transaction ends; a Done may share it.

    What a kind keeps of a plan beside it is changed under this, or under the latch.
    """
    transaction.connection.execute(_GUARD, {"key": key, "channel": transaction.channel})
    transaction.locked()


def share(transaction: Transaction, key: UUID) -> None:
    """Keep others from holding a plan's latch alone until the transaction ends."""
    transaction.connection.execute(_SHARE, {"key": key, "channel": transaction.channel})
    transaction.locked()


def _read(transaction: Transaction, query: TextClause, **keys: UUID | list[UUID]) -> dict[UUID, Plan]:
    rows = transaction.connection.execute(query, {**keys, "channel": transaction.channel})
    return {row.key: Plan(*row) for row in rows}


_TAKE = statement(
    """
    SELECT key, kind, owner, ended_at, outcome FROM plans
    WHERE key = :key AND pg_try_advisory_xact_lock($LATCH) FOR NO KEY UPDATE SKIP LOCKED
    """,
    LATCH=_LATCH,
)


def take(transaction: Transaction, key: UUID) -> Plan | None:
    """Hold a plan's latch until the transaction ends; return None where another transaction has it."""
    row = transaction.connection.execute(_TAKE, {"key": key}).one_or_none()
    transaction.locked()
    return None if row is None else Plan(*row)


_END = statement("UPDATE plans SET ended_at = :now, outcome = :outcome WHERE key = :key AND ended_at IS NULL")


def end(transaction: Transaction, key: UUID, outcome: TaskStatus) -> bool:
    """Note that a plan whose latch is held was cancelled or has failed; return False if it had ended before."""
    parameters = {"key": key, "now": transaction.now, "outcome": outcome}
    return transaction.connection.execute(_END, parameters).rowcount > 0


_LOCK_LIVE = statement(
    """
    SELECT FROM task_states WHERE plan_key = :plan AND status IN ($LIVE) AND key <> ALL(CAST(:spared AS uuid[]))
    ORDER BY key FOR NO KEY UPDATE
    """
)
_CANCEL = statement(
    """
    WITH ended AS (
             UPDATE task_states SET status = $CANCELLED, token_hash = NULL, due_at = NULL, poked_at = NULL
             FROM tasks
             WHERE tasks.key = task_states.key AND task_states.plan_key = :plan AND status IN ($LIVE)
               AND tasks.key <> ALL(CAST(:spared AS uuid[]))
             RETURNING $RETURNED, rank
         ),
         alive AS (
             SELECT task_key, number FROM attempts JOIN ended ON task_key = ended.key AND number = ended.attempts
             WHERE ended_at IS NULL ORDER BY task_key FOR NO KEY UPDATE OF attempts
         ),
         attempt AS (
             UPDATE attempts SET ended_at = :now, outcome = $CANCELLED
             FROM alive WHERE attempts.task_key = alive.task_key AND attempts.number = alive.number
             RETURNING attempts.task_key, CASE WHEN claim_id IS NOT NULL THEN attempts.number END AS ran
         ),
         decline AS (DELETE FROM declines USING ended WHERE declines.task_key = ended.key)
    SELECT $COLUMNS, ran FROM ended LEFT JOIN attempt ON task_key = key ORDER BY rank, key
    """,
    COLUMNS=COLUMNS,
    RETURNED=RETURNED,
)


@dataclass(frozen=True)
class Live:
    """The tasks of a plan that have not ended, locked.

    Args:
        plan: which one.
        spared: those that are none of them.
    """

    plan: UUID
    spared: Sequence[UUID]


def lock_live(transaction: Transaction, key: UUID, spared: Collection[UUID] = ()) -> Live:
    """Lock the tasks of a plan, whose latch the transaction holds, that have not ended; return them.

    It comes before anything is told, and before what ends them: who waited comes later than what was told meanwhile,
    and a statement that waits for a claim does not see the attempt that the claim began.

    Args:
        transaction: of whoever may end them.
        key: which plan.
        spared: tasks that go on; below none that does not.
    """
    live = Live(key, list(spared))
    transaction.connection.execute(_LOCK_LIVE, {"plan": live.plan, "spared": live.spared})
    transaction.locked()
    return live


def cancel(transaction: Transaction, live: Live, reason: str) -> None:
    """Cancel the tasks of a plan that have not ended, and tell their workers.

    Args:
        transaction: that has locked them.
        live: the tasks.
        reason: why, for their events.
    """
    parameters = {"plan": live.plan, "now": transaction.now, "spared": live.spared}
    ended = tasks.moved(transaction, _CANCEL, parameters)
    _tell(transaction, ended, reason)
    for task in ended:
        if task.ran is not None:
            transaction.pokes.stop(task.queue, task.key, task.ran)


_CANCEL_STUCK = statement(
    """
    WITH RECURSIVE stuck (key) AS (
             SELECT key FROM task_states
             WHERE plan_key = :plan
               AND ((:ended AND status IN ($NOT_BEGUN))
                    OR (status IN ($NOT_DUE)
                        AND EXISTS (SELECT FROM edges JOIN task_states AS parents ON parents.key = parent
                                    WHERE child = task_states.key AND parents.status IN ($STOPPED))))
             UNION
             SELECT task_states.key FROM stuck JOIN edges ON parent = stuck.key
                                               JOIN task_states ON task_states.key = child
             WHERE plan_key = :plan AND status IN ($NOT_DUE)
         ),
         live AS (
             SELECT key FROM task_states WHERE key IN (SELECT key FROM stuck) AND status IN ($NOT_BEGUN)
             ORDER BY key FOR NO KEY UPDATE
         ),
         ended AS (
             UPDATE task_states SET status = $CANCELLED, due_at = NULL, poked_at = NULL
             FROM live JOIN tasks USING (key) WHERE task_states.key = live.key
             RETURNING $RETURNED, rank
         ),
         decline AS (DELETE FROM declines USING ended WHERE task_key = ended.key)
    SELECT $COLUMNS FROM ended ORDER BY rank, key
    """,
    COLUMNS=COLUMNS,
    RETURNED=RETURNED,
)


def cancel_stuck(transaction: Transaction, key: UUID) -> int:
    """Cancel the tasks of a plan that can never run, and those below them.

    They are those To do or before, where the plan has ended; and those that wait for a parent which was stopped.

    Args:
        transaction: of nobody.
        key: which plan.

    Returns:
        How many; none while others hold the plan.
    """
    plan = take(transaction, key)
    if plan is None:
        return 0
    over = plan.ended_at is not None
    ended = tasks.moved(transaction, _CANCEL_STUCK, {"plan": key, "ended": over})
    transaction.locked()
    its = f"its {kinds.of(plan.kind).plan_noun} has ended"
    _tell(transaction, ended, its if over else "a parent has failed or was cancelled")
    return len(ended)


def _tell(transaction: Transaction, ended: list[Task], reason: str) -> None:
    outbox.drop_unsent(transaction.connection, [task.key for task in ended])
    for task in ended:
        kinds.tell(transaction, task, reason)
        kinds.of(task.kind).ended(transaction, task)
