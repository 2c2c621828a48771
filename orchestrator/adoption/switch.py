"""The switch: what the other server would have had its workers do next, they are asked for by this one."""

from dataclasses import dataclass

from orchestrator import protos as pb
from orchestrator.core import pokes
from orchestrator.engine.outbox import written
from orchestrator.engine.transaction import Transaction
from orchestrator.store.statements import statement

# Once: a task that was poked for is passed over, and so is what has begun since.
_TASKS = statement(
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
_FUNCTIONS = statement(
    """
    WITH due AS (
             UPDATE functions SET poked_at = :now
             WHERE channel = :channel AND status IN ($WAITING, $BUILDING) AND poked_at IS NULL
             RETURNING key, owner
         ),
         $POKE
    SELECT count(*) FROM poke
    """,
    POKE=written("""
        SELECT '$BUILD_FUNCTION', CAST(:prefix AS text) || owner, CAST(0 AS smallint), key, 1,
               CAST(:now AS timestamptz), CAST(NULL AS text)
        FROM due
    """),
    BUILD_FUNCTION=pokes.BUILD_FUNCTION,
    WAITING=str(pb.FUNCTION_STATUS_WAITING),
    BUILDING=str(pb.FUNCTION_STATUS_BUILDING),
)


@dataclass(frozen=True)
class Due:
    """What was asked for.

    Args:
        tasks: how many are To do.
        functions: how many are to be built.
    """

    tasks: int
    functions: int


def switch(transaction: Transaction) -> Due:
    """Ask for what is due in the channel; what was asked for already is not asked for again."""
    asked = {"channel": transaction.channel, "now": transaction.now}
    tasks = transaction.connection.execute(_TASKS, asked).scalar_one()
    functions = transaction.connection.execute(_FUNCTIONS, {**asked, "prefix": pokes.queue("")}).scalar_one()
    return Due(tasks, functions)
