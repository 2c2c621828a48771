"""The Stop button of front ends: STOP_TASK for the newest task, or for one."""

from uuid import UUID

from orchestrator import protos as pb
from orchestrator.core.errors import NotFoundError
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import commands, deployments, iterations
from orchestrator.store.statements import statement

_SOURCE = "cancel"

_COMMANDS = statement("""
    SELECT id, message FROM module_commands WHERE deployment = :deployment AND accepted_at >= :since
    ORDER BY accepted_at DESC, id DESC LIMIT 1000
""")


def cancel(transaction: Transaction, deployment: str, task_id: pb.TaskId | None = None) -> pb.CommandRecord | None:
    """Stop a task, or the newest that has not ended, with what would follow it; return the command's record.

    A task that was stopped already gives the record of the command that did it.

    Args:
        transaction: of the caller.
        deployment: whose.
        task_id: which; None for the newest.

    Returns:
        The record, None where there is nothing to stop: no task, or it has ended otherwise.
    """
    deployments.enter(transaction, deployment)
    wanted = task_id or iterations.newest_open(transaction, deployment) or iterations.latest(transaction, deployment)
    if wanted is None:
        return None
    try:
        row = iterations.row_of(transaction, deployment, wanted)
    except NotFoundError:
        return None
    if row.ended_at is not None:
        return _given_before(transaction, deployment, wanted) if row.state == pb.STAGE_STOPPED else None
    command = pb.Command(cmd_task=pb.STOP_TASK, task_id=wanted, source_node=_SOURCE)
    record, _ = commands.give(transaction, deployment, command)
    return record


def _given_before(transaction: Transaction, deployment: str, task_id: pb.TaskId) -> pb.CommandRecord | None:
    row = iterations.row_of(transaction, deployment, task_id)
    parameters = {"deployment": deployment, "since": row.created_at}
    for each in transaction.connection.execute(_COMMANDS, parameters):
        command = pb.Command.FromString(each.message)
        if command.cmd_task in (pb.STOP_TASK, pb.TERMINATE_TASK) and command.task_id == task_id:
            return commands.get(transaction, deployment, str(UUID(str(each.id))))
    return None
