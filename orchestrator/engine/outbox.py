"""Pokes to send: written in the transaction that makes them due, sent after its commit by the relay."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from orchestrator.core import pokes
from orchestrator.store.connection import Connection
from orchestrator.store.statements import statement

PURGE = "purge"
"""No message: the queue is to be emptied."""

_NOTHING = UUID(int=0)


@dataclass(frozen=True)
class Poke:
    """A message to a queue.

    Args:
        message: one of `core.pokes`, or `PURGE`.
        queue: where it goes.
        key: what it is about, a task or a function; it means nothing for a purge.
        attempt: the number of the attempt that is due, or that must stop; 0 where a worker is to beat and no more.
        priority: those of the highest go first.
        traceparent: of the call that wrote it, where that was traced; of one that was claimed, of the claim. While it
            is not written, None stands for that of the transaction.
    """

    message: str
    queue: str
    key: UUID
    attempt: int
    priority: int = 0
    traceparent: str | None = None


class Recorder:
    """The pokes of one transaction."""

    def __init__(self) -> None:
        self.pokes: list[Poke] = []

    def __bool__(self) -> bool:
        return bool(self.pokes)

    def run(self, queue: str, task: UUID, attempt: int, priority: int = 0) -> None:
        """Ask whoever reads a queue to claim the next attempt of a task."""
        self.pokes.append(Poke(pokes.RUN_TASK, queue, task, attempt, priority))

    def build(self, owner: str, function: UUID) -> None:
        """Ask a function's owner to build it."""
        self.pokes.append(Poke(pokes.BUILD_FUNCTION, pokes.queue(owner), function, 1))

    def stop(self, queue: str, task: UUID, attempt: int) -> None:
        """Tell whoever reads a queue that an attempt must end; its heartbeat will hear it too, later."""
        self.pokes.append(Poke(pokes.STOP_ATTEMPTS, queue, task, attempt))

    def beat(self, queue: str) -> None:
        """Have whoever reads a queue beat at once: the answer to the heartbeat says what there is to hear."""
        self.pokes.append(Poke(pokes.STOP_ATTEMPTS, queue, _NOTHING, 0))

    def take(self, other: "Recorder", traceparent: str | None) -> None:
        """Send, after its own, what another sends.

        Args:
            other: of a call.
            traceparent: of that call.
        """
        self.pokes += [replace(poke, traceparent=poke.traceparent or traceparent) for poke in other.pokes]

    def parameters(self, traceparent: str | None) -> dict[str, object]:
        """Return the parameters of `WRITE`, but for the time.

        Args:
            traceparent: of the transaction.
        """
        return {
            "poke_traceparents": [poke.traceparent or traceparent for poke in self.pokes],
            "poke_messages": [poke.message for poke in self.pokes],
            "poke_queues": [poke.queue for poke in self.pokes],
            "poke_priorities": [poke.priority for poke in self.pokes],
            "poke_keys": [poke.key for poke in self.pokes],
            "poke_attempts": [poke.attempt for poke in self.pokes],
        }


def written(pokes: str) -> str:
    """Return what stands in the WITH of a statement that writes pokes, as the table `poke` of their rows.

    Args:
        pokes: selects message, queue, priority, key, attempt, created_at and traceparent of each.
    """
    return f"""
        poke AS (
            INSERT INTO outbox (message, queue, priority, key, attempt, created_at, traceparent)
            {pokes}
            RETURNING id, queue, priority, message
        ),
        unsent_poke AS ({UNSENT} FROM poke)
    """


UNSENT = "INSERT INTO unsent_pokes (id, queue, priority, message) SELECT id, queue, priority, message"
"""Before `FROM`: notes of rows of `outbox` that they are to be sent."""

WRITE = written("""
    SELECT message, queue, priority, key, attempt, :now, traceparent
    FROM unnest(CAST(:poke_messages AS text[]), CAST(:poke_queues AS text[]), CAST(:poke_priorities AS smallint[]),
                CAST(:poke_keys AS uuid[]), CAST(:poke_attempts AS int[]), CAST(:poke_traceparents AS text[]))
         AS poke (message, queue, priority, key, attempt, traceparent)
""")
"""What stands in the WITH of a statement that inserts the pokes of a transaction."""

ANNOUNCED = """
    SELECT outbox.id, open.queue, outbox.priority, outbox.key, outbox.attempt, created_at, sent_at
    FROM (SELECT id, queue FROM sent_pokes
          UNION ALL
          SELECT id, queue FROM unsent_pokes WHERE message = 'task.run') AS open
    JOIN outbox ON outbox.id = open.id
"""
"""The pokes that announce an attempt, and perhaps some that were claimed: the state of a task says which are due."""

# One step in the index for each queue, however many pokes wait for one that nobody reads.
_WAITING = statement("""
    WITH RECURSIVE waiting (queue) AS (
        SELECT min(queue) FROM unsent_pokes
        UNION ALL
        SELECT (SELECT min(unsent_pokes.queue) FROM unsent_pokes WHERE unsent_pokes.queue > waiting.queue)
        FROM waiting WHERE queue IS NOT NULL
    )
    SELECT queue FROM waiting WHERE queue IS NOT NULL
""")


def waiting(connection: Connection) -> list[str]:
    """Return the queues that have unsent pokes."""
    return list(connection.execute(_WAITING).scalars())


# Each is looked up by itself: a plan that was made while there were few tasks would read all of them, and is kept.
_STATE = """
    LATERAL (SELECT status, attempts, poked_at FROM task_states WHERE task_states.key = sent.key OFFSET 0) AS state
"""
# What is out: sent a short time ago, for an attempt that is still due, and not to be sent again already. While all
# slots are taken nobody can have claimed it, so that its age says nothing. No more are counted than fill the room, were
# each sent twice: more are out where nobody knew the slots when they were sent.
_ROOM = """
         node AS (
             SELECT max(slots) AS slots, max(heard_at) > clock_timestamp() - CAST(:silence AS interval) AS heard,
                    sum(attempts) FILTER (WHERE heard_at > clock_timestamp() - CAST(:silence AS interval)) AS running
             FROM nodes WHERE queue = :queue GROUP BY organization, name
         ),
         known AS (
             SELECT coalesce(sum(slots) FILTER (WHERE heard), sum(slots)) AS slots,
                    CASE WHEN sum(running) FILTER (WHERE heard) >= sum(slots) FILTER (WHERE heard)
                         THEN '-infinity' ELSE clock_timestamp() - CAST(:silence AS interval) END AS since
             FROM node HAVING count(*) FILTER (WHERE heard AND slots IS NULL) = 0
         ),
         room AS (
             SELECT $SPARE + $SPARE * slots
                    - (SELECT count(DISTINCT key)
                       FROM (SELECT sent.key FROM sent_pokes AS sent CROSS JOIN $STATE
                             WHERE sent.queue = :queue AND sent.sent_at > (SELECT since FROM known)
                               AND status = $TO_DO AND attempts + 1 = attempt AND poked_at IS NOT NULL
                               AND NOT EXISTS (SELECT FROM outbox AS again
                                               WHERE again.key = sent.key AND again.sent_at IS NULL)
                             LIMIT 2 * ($SPARE + $SPARE * (SELECT slots FROM known))) AS out) AS pokes
             FROM known WHERE slots IS NOT NULL AND CAST(:silence AS interval) IS NOT NULL
         )
"""
_TAKE = statement(
    """
    WITH $ROOM,
         runs AS (
             SELECT $TAKEN FROM unsent_pokes AS unsent JOIN outbox ON outbox.id = unsent.id
             WHERE unsent.queue = :queue AND unsent.message = '$RUN_TASK' AND sent_at IS NULL
             ORDER BY unsent.priority DESC, unsent.id
             LIMIT least(CAST(:limit AS bigint), (SELECT CASE WHEN pokes > 0 THEN pokes ELSE 0 END FROM room))
             FOR UPDATE OF outbox SKIP LOCKED
         ),
         others AS (
             SELECT $TAKEN FROM unsent_pokes AS unsent JOIN outbox ON outbox.id = unsent.id
             WHERE unsent.queue = :queue AND unsent.message <> '$RUN_TASK' AND sent_at IS NULL
             ORDER BY unsent.id LIMIT :limit FOR UPDATE OF outbox SKIP LOCKED
         )
    SELECT id, message, queue, key, attempt, priority, traceparent FROM runs
    UNION ALL
    SELECT id, message, queue, key, attempt, priority, traceparent FROM others
    ORDER BY priority DESC, id
    """,
    ROOM=_ROOM,
    STATE=_STATE,
    SPARE=str(2),
    TAKEN="outbox.id, outbox.message, outbox.queue, key, attempt, outbox.priority, traceparent",
    RUN_TASK=pokes.RUN_TASK,
)


def take(connection: Connection, queue: str, limit: int, silence: timedelta | None = None) -> list[tuple[int, Poke]]:
    """Return unsent pokes of a queue with their ids, locked until the transaction ends.

    Those of the highest priority come first, and of these the oldest. Attempts are announced only where there is room,
    so the order stays that of the database: for each slot of the nodes that read the queue two may be out, and two
    more, so that no slot waits for the relay. Nodes that are silent count only where none is heard; where nobody knows
    the slots, there is room for all.

    Args:
        connection: inside a transaction.
        queue: which one.
        limit: most pokes that announce an attempt, and most others.
        silence: how long a poke is believed to be on its way to a free slot, and a node to live that is not heard; None
            for as much room as there are pokes.
    """
    parameters = {"queue": queue, "limit": limit, "silence": silence}
    taken = [
        (row.id, Poke(row.message, row.queue, row.key, row.attempt, row.priority, row.traceparent))
        for row in connection.execute(_TAKE, parameters)
    ]
    if any(poke.message == PURGE for _, poke in taken):
        # What was written after it is not to be taken away with the rest.
        taken.sort(key=lambda each: each[0])
    return taken


# Of the oldest that are out it takes away those that are due no more, of twice as many as it adds, and of a hundred:
# many may be of a time when nobody knew the slots. They are found again by their places, which they keep: a join would
# read all.
_MARK = statement(
    """
    WITH sent AS (
             UPDATE outbox SET sent_at = clock_timestamp() WHERE id = ANY(CAST(:ids AS bigint[]))
             RETURNING id, queue, priority, message, key, attempt, sent_at
         ),
         taken AS (
             DELETE FROM unsent_pokes AS unsent USING sent
             WHERE unsent.queue = sent.queue AND unsent.priority = sent.priority AND unsent.id = sent.id
         ),
         oldest AS (
             SELECT ctid AS place, key, attempt FROM sent_pokes
             WHERE queue = :queue ORDER BY sent_at LIMIT greatest(100, 2 * cardinality(CAST(:ids AS bigint[])))
         ),
         over AS (
             SELECT ctid FROM sent_pokes
             WHERE ctid = ANY (ARRAY(
                 SELECT place FROM oldest AS sent LEFT JOIN $STATE ON true
                 WHERE (status = $TO_DO AND attempts + 1 = attempt) IS NOT TRUE))
             FOR UPDATE SKIP LOCKED
         ),
         claimed AS (DELETE FROM sent_pokes WHERE ctid = ANY (ARRAY(SELECT ctid FROM over)))
    INSERT INTO sent_pokes (id, queue, priority, key, attempt, sent_at)
    SELECT id, queue, priority, key, attempt, sent_at FROM sent WHERE message = '$RUN_TASK'
    """,
    STATE=_STATE,
    RUN_TASK=pokes.RUN_TASK,
)


def mark_sent(connection: Connection, queue: str, ids: list[int]) -> None:
    """Note that pokes of a queue have been handed to the broker."""
    if ids:
        connection.execute(_MARK, {"queue": queue, "ids": ids})


_EARLIER = statement(
    """
    SELECT DISTINCT ON (again.key) again.key, traceparent
    FROM unnest(CAST(:keys AS uuid[]), CAST(:attempts AS int[])) AS again (key, attempt)
    JOIN outbox ON outbox.key = again.key AND outbox.attempt = again.attempt - 1
    WHERE message = '$RUN_TASK' AND traceparent IS NOT NULL
    ORDER BY again.key, id DESC
    """,
    RUN_TASK=pokes.RUN_TASK,
)


def earlier(connection: Connection, again: Collection[Poke]) -> dict[UUID, str]:
    """Return, by task, the traceparent of the attempt before each that is announced, where that was traced."""
    if not again:
        return {}
    parameters = {"keys": [poke.key for poke in again], "attempts": [poke.attempt for poke in again]}
    return {row.key: row.traceparent for row in connection.execute(_EARLIER, parameters)}


# A poke that the relay holds is on its way; waiting for the broker would hold up the call.
_DROP = statement(
    """
    WITH dropped AS (
             DELETE FROM outbox
             WHERE id IN (SELECT id FROM outbox WHERE sent_at IS NULL AND message = '$RUN_TASK' AND key = ANY(:keys)
                          FOR UPDATE SKIP LOCKED)
             RETURNING id, queue, priority
         )
    DELETE FROM unsent_pokes AS unsent USING dropped
    WHERE unsent.queue = dropped.queue AND unsent.priority = dropped.priority AND unsent.id = dropped.id
    """,
    RUN_TASK=pokes.RUN_TASK,
)


def drop_unsent(connection: Connection, tasks: list[UUID]) -> None:
    """Forget the unsent pokes of tasks that have ended."""
    connection.execute(_DROP, {"keys": tasks})


_COUNT_SENT = statement("SELECT count(*) FROM outbox WHERE sent_at IS NOT NULL")


def count_sent(connection: Connection) -> int:
    """Return how many pokes have been handed to the broker."""
    return int(connection.execute(_COUNT_SENT).scalar_one())


_DUE = statement(
    """
    SELECT queue, count(DISTINCT poke.key) AS count
    FROM ($ANNOUNCED) AS poke JOIN task_states ON task_states.key = poke.key
    WHERE queue = ANY(:queues) AND status = $TO_DO AND attempts + 1 = attempt AND poked_at IS NOT NULL
    GROUP BY queue
    """,
    ANNOUNCED=ANNOUNCED,
)


def due(connection: Connection, queues: Collection[str]) -> dict[str, int]:
    """Return how many tasks of some queues wait to be claimed; a queue without any is left out."""
    return {row.queue: int(row.count) for row in connection.execute(_DUE, {"queues": list(queues)})}


_BEFORE = statement(
    """
    WITH own AS (
             SELECT id, priority, sent_at FROM outbox
             WHERE key = :key AND attempt = :attempt AND message = '$RUN_TASK'
             ORDER BY id DESC LIMIT 1
         )
    SELECT count(DISTINCT other.key)
    FROM ($ANNOUNCED) AS other JOIN task_states ON task_states.key = other.key
    WHERE queue = :queue AND other.key <> :key AND status = $TO_DO AND attempts + 1 = attempt
      AND poked_at IS NOT NULL
      AND (SELECT CASE WHEN own.sent_at IS NULL
                       THEN other.sent_at IS NOT NULL OR (-other.priority, other.id) < (-own.priority, own.id)
                       ELSE (other.sent_at, other.id) < (own.sent_at, own.id) END
           FROM own)
    """,
    ANNOUNCED=ANNOUNCED,
    RUN_TASK=pokes.RUN_TASK,
)


def before(connection: Connection, queue: str, task: UUID, attempt: int) -> int:
    """Return how many other tasks of a queue are announced before an attempt that is due."""
    return int(connection.execute(_BEFORE, {"queue": queue, "key": task, "attempt": attempt}).scalar_one())
