"""The registration of tasks of one kind: their rows, their events and their pokes are one statement."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.core.pokes import RUN_TASK
from orchestrator.core.states import TERMINAL, TaskStatus
from orchestrator.engine import kinds, outbox, tasks
from orchestrator.engine.tasks import NewTask
from orchestrator.engine.transaction import EVENTS, POKES, Transaction
from orchestrator.store.statements import few, statement
from orchestrator.trace import events

# Who looked at the parents may have waited since for their plans, and a Done was faster: it does nothing then.
_REGISTER = statement(
    """
    WITH call AS MATERIALIZED (
             SELECT nextval('events_sequence_seq') AS sequence, CAST(:now AS timestamptz) AS now
             WHERE NOT EXISTS (SELECT FROM $LIVE JOIN task_states USING (key) WHERE status IN ($ENDED))
         ),
         grown AS (
             UPDATE plans SET extended = extended + 1
             WHERE key IN (SELECT plan_key FROM $LIVE JOIN task_states USING (key)) AND EXISTS (SELECT FROM call)
         ),
         $INSERTED,
         created AS (
             SELECT ordinal - 1 AS ordinal, CAST(:asset_kind AS smallint) AS asset_kind, key, message || state AS asset
             FROM call, unnest(CAST(:keys AS uuid[]), CAST(:messages AS bytea[]), CAST(:words AS bytea[]))
                        WITH ORDINALITY AS task (key, message, state, ordinal)
         ),
         $CREATED,
         $POKE
    SELECT sequence FROM call
    """,
    LIVE=few("live"),
    INSERTED=tasks.inserted("call, "),
    CREATED=events.CREATED,
    POKE=outbox.written("""
        SELECT '$RUN_TASK', queue, priority, key, 1, now, CAST(:traceparent AS text)
        FROM call, unnest(CAST(:keys AS uuid[]), CAST(:queues AS text[]), CAST(:priorities AS smallint[]),
                          CAST(:statuses AS smallint[])) WITH ORDINALITY
                   AS task (key, queue, priority, status, ordinal)
        WHERE status = $TO_DO ORDER BY ordinal
    """),
    RUN_TASK=RUN_TASK,
)


def register(transaction: Transaction, kind: str, new: Sequence[NewTask], above: Mapping[UUID, TaskStatus]) -> bool:
    """Keep new tasks of the caller, tell of them, and poke the queues of those that are To do.

    Args:
        transaction: of the caller; it holds the latches of their plans, and of those of their parents, and has told of
            nothing yet.
        kind: of all of them.
        new: the tasks.
        above: the parents of some of them that were there before, with the states that they were seen in.

    Returns:
        Whether that is done: where one of the parents has ended since it was seen, nothing is.

    Raises:
        ConflictError: a task bears one of the keys, in this channel or in another.
    """
    known = kinds.of(kind)
    kept = transaction.connection.execute(
        _REGISTER,
        {
            **tasks.parameters(transaction, new),
            **events.moved_parameters(transaction.now, transaction.channel),
            "asset_kind": known.asset_kind,
            "words": [known.state(task.status) for task in new],
            "live": [key for key, status in above.items() if status not in TERMINAL],
            "traceparent": transaction.traceparent,
        },
    )
    if not kept:
        return False
    to_do = any(task.status == pb.STATUS_WAITING_FOR_EXECUTOR_SLOT for task in new)
    transaction.tells(EVENTS, *([POKES] if to_do else []))
    return True
