"""How an iteration is stopped: by a command, or because it takes too long."""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import finishing, graph, holding, iterations, stages
from orchestrator.store.statements import statement

_FINAL = statement("""
    UPDATE iterations SET final = true
    WHERE deployment = :deployment AND problem = :problem AND iteration = :iteration
""")

_ENDED_FOR_GOOD = statement("""
    SELECT stages.task_key FROM stages JOIN iterations USING (deployment, problem, iteration)
    WHERE stages.deployment = :deployment AND stages.task_key = ANY(:keys) AND iterations.final
""")


def for_good(transaction: Transaction, deployment: str, keys: Collection[str]) -> frozenset[str]:
    """Return those tasks of stages whose iterations never run again: their callbacks are given no grace.

    Args:
        transaction: of the caller.
        deployment: whose.
        keys: of the tasks.
    """
    if not keys:
        return frozenset()
    found = transaction.connection.execute(_ENDED_FOR_GOOD, {"deployment": deployment, "keys": [UUID(k) for k in keys]})
    return frozenset(str(row.task_key) for row in found)


def stop(transaction: Transaction, deployment: str, task_id: pb.TaskId, *, final: bool = False) -> Sequence[UUID]:
    """Stop an iteration; what it has made stays. One that has ended stays as it is.

    Args:
        transaction: of the caller.
        deployment: whose.
        task_id: which.
        final: whether it never runs again.

    Returns:
        The plans whose attempts were told to stop.

    Raises:
        NotFoundError: there is none.
    """
    held = holding.hold(transaction, deployment, task_id)
    if final:
        transaction.connection.execute(_FINAL, stages.of(deployment, task_id))
    if held.row.ended_at is None:
        finishing.end_stages(transaction, held.open, pb.STAGE_STOPPED, "its iteration was stopped by a command")
        iterations.finish(transaction, deployment, task_id, pb.STAGE_STOPPED)
    return sorted({row.plan_key for row in held.stages})


def expire(transaction: Transaction, deployment: str, task_id: pb.TaskId, now: datetime) -> bool:
    """End an iteration that has taken too long.

    What runs has failed; where nothing runs, the first stage that waits has. What is below is skipped, and the rest is
    stopped.

    Args:
        transaction: of the organization of its deployment.
        deployment: whose.
        task_id: which.
        now: the time.

    Returns:
        False where it has ended, or may go on.
    """
    held = holding.hold(transaction, deployment, task_id)
    deadline = held.row.deadline_at
    if held.row.ended_at is not None or deadline is None or deadline > now or not held.open:
        return False
    running = [row for row in held.open if row.state == pb.STAGE_RUNNING]
    order = list(graph.in_order())
    failed = running or sorted(held.open, key=lambda row: order.index(row.kind))[:1]
    seconds = (deadline - held.row.started_at).total_seconds()
    error = pb.StageError(
        code=pb.STAGE_ERROR_TIMEOUT, message=f"the iteration took longer than its limit of {seconds:g} s"
    )
    below = set().union(*(graph.below(row.kind) for row in failed))
    skipped = [row for row in held.open if row.kind in below and row not in failed]
    rest = [row for row in held.open if row not in failed and row not in skipped]
    finishing.end_stages(transaction, failed, pb.STAGE_ERROR, error.message, error)
    finishing.end_stages(transaction, skipped, pb.STAGE_SKIPPED, finishing.SKIPPED)
    finishing.end_stages(transaction, rest, pb.STAGE_STOPPED, error.message)
    iterations.fail(transaction, deployment, task_id, failed[0].kind, error)
    iterations.finish(transaction, deployment, task_id, pb.STAGE_ERROR)
    return True
