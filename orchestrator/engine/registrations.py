"""The registration of many tasks: with their events and pokes in one statement, and the message of each once."""

from collections.abc import Collection, Iterable, Iterator, Sequence

from orchestrator.core.pokes import RUN_TASK
from orchestrator.engine import kinds, outbox, tasks
from orchestrator.engine.tasks import Key, NewTask
from orchestrator.engine.transaction import EVENTS, TELL, Transaction
from orchestrator.store.connection import Rows
from orchestrator.store.statements import each, statement
from orchestrator.trace import events

# Who has seen the parents may have waited for their plans since, and a Done was faster: nothing is kept then.
_REGISTER = statement(
    """
    WITH held AS MATERIALIZED (
             SELECT WHERE NOT EXISTS (SELECT FROM $OUTER WHERE status IN ($ENDED))
         ),
         $INSERT,
         created AS (
             SELECT event, key, message || state AS asset
             FROM task JOIN unnest(CAST(:ids AS uuid[]), CAST(:states AS bytea[]))
                            WITH ORDINALITY AS told (event, state, ordinal) USING (ordinal)
         ),
         $EVENTS,
         $POKES
    SELECT sequence, ARRAY(SELECT DISTINCT queue FROM poke) AS poked, CASE WHEN :notifies THEN $TELL END
    FROM call WHERE EXISTS (SELECT FROM held)
    """,
    INSERT=tasks.INSERT,
    OUTER=each("task_states", "outer"),
    GUARD="EXISTS (SELECT FROM held)",
    EVENTS=events.CREATED,
    POKES=outbox.written("""
        SELECT '$RUN_TASK', queue, priority, key, 1, CAST(:now AS timestamptz), CAST(:traceparent AS text)
        FROM task WHERE status = $TO_DO ORDER BY ordinal
    """),
    RUN_TASK=RUN_TASK,
    TELL=TELL,
)


def write(transaction: Transaction, kind: str, new: Sequence[NewTask], outer: Collection[Key]) -> bool:
    """Keep new tasks of the caller, and make them known; what is due is announced.

    Args:
        transaction: of the caller; it has all its locks, and holds the latches of their plans and of their parents'.
        kind: of work; each has a queue.
        new: the tasks, one at least.
        outer: the parents of some of them that were there before the transaction, and had not ended when last seen.

    Returns:
        Whether they are kept: where one of `outer` has ended since, nothing is.

    Raises:
        ConflictError: a task bears one of the keys, in this channel or in another.
    """
    return _told(transaction, transaction.connection.execute(_REGISTER, _parameters(transaction, kind, new, outer)))


def write_ahead(
    transaction: Transaction, kind: str, parts: Iterable[Sequence[NewTask]], outer: Collection[Key]
) -> Iterator[Sequence[NewTask]]:
    """Keep new tasks as `write` does, part after part, each made while Postgres writes the one before.

    Args:
        transaction: as there.
        kind: as there.
        parts: the tasks of each, parents before children.
        outer: as there, of all parts.

    Yields:
        The tasks of each part, when they are kept; nothing where `write` would keep nothing.

    Raises:
        ConflictError: as there.
    """
    connection, last, answer = transaction.connection, None, None
    with connection.ahead() as send:
        for new in parts:
            parameters = connection.written(_REGISTER, _parameters(transaction, kind, new, outer))
            if answer is not None and not _told(transaction, answer()):
                return
            answer = send(_REGISTER, {**parameters, "sequence": transaction.events.sequence})
            if last is not None:
                yield last
            last = new
        if answer is None or not _told(transaction, answer()):
            return
    if last is not None:
        yield last


def _parameters(
    transaction: Transaction, kind: str, new: Sequence[NewTask], outer: Collection[Key]
) -> dict[str, object]:
    of_kind, recorded = kinds.of(kind), transaction.events
    states = {status: of_kind.state(status) for status in {task.status for task in new}}
    return {
        **tasks.parameters(transaction, new, outer),
        "asset_kind": of_kind.asset_kind,
        "states": [states[task.status] for task in new],
        "sequence": recorded.sequence,
        "ids": recorded.new_ids(transaction.now, len(new)),
        "traceparent": transaction.traceparent,
        "notifies": transaction.notifies,
    }


def _told(transaction: Transaction, rows: Rows) -> bool:
    """Note what the statement has made known; return False where it has kept nothing."""
    written = rows.one_or_none()
    if written is None:
        return False
    transaction.events.sequence = written.sequence
    transaction.tells(EVENTS, *written.poked, notified=transaction.notifies)
    return True
