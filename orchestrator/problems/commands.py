"""Control commands: given once, carried out at once where that can be, acknowledged by each module, kept for ever."""

from collections.abc import Sequence
from uuid import UUID, uuid4

from orchestrator import protos as pb
from orchestrator.core.errors import BadRequestError, ConflictError, NotFoundError
from orchestrator.core.fields import parse_key
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import (
    acknowledgements,
    deployments,
    iterations,
    node_commands,
    preempting,
    resetting,
    stopping,
    targets,
    told,
)
from orchestrator.problems.targets import Target, Wanted
from orchestrator.store.connection import Row
from orchestrator.store.statements import statement

_LONGEST_SOURCE = 200

_INSERT = statement("""
    INSERT INTO module_commands (id, deployment, organization, accepted_at, message, state)
    VALUES (:id, :deployment, :organization, :now, :message, 0)
    ON CONFLICT (id) DO NOTHING RETURNING id
""")


def give(
    transaction: Transaction, deployment: str, command: pb.Command, command_id: str | None = None
) -> tuple[pb.CommandRecord, bool]:
    """Accept a command; return its record, and whether it was given before under its id.

    Args:
        transaction: of the caller.
        deployment: whose.
        command: what is to be done. Where both of its commands are set, that to the task comes first.
        command_id: a UUID that the client chose, None for one of ours.

    Raises:
        BadRequestError: it says nothing that can be done.
        NotFoundError: there is no such target, or no such task.
        ConflictError: another command has the id.
        StateError: the task is in a state in which this cannot be done.
    """
    deployments.enter(transaction, deployment)
    id_ = parse_key(command_id, "command_id") if command_id else uuid4()
    given, command = command, pb.Command()
    command.CopyFrom(given)
    command.target_node = targets.canonical(given.target_node)
    kept = command.SerializeToString(deterministic=True)
    parameters = {
        "id": id_,
        "deployment": deployment,
        "organization": transaction.organization,
        "now": transaction.now,
        "message": kept,
    }
    if not transaction.connection.execute(_INSERT, parameters):
        return _given_before(transaction, deployment, id_, kept), True
    wanted = _check(transaction, deployment, command)
    told.tell(transaction, str(id_), _event(deployment, id_, command))
    if wanted is not None and command.cmd_node:
        node_commands.close_gates(transaction, deployment, wanted)
    if command.cmd_task:
        plans = _to_task(transaction, deployment, command, wanted)
        acknowledgements.insert(transaction, deployment, id_, [Target(None)], plans=plans)
    if wanted is not None and command.cmd_node:
        found = targets.of(transaction, deployment, wanted)
        acknowledgements.insert(transaction, deployment, id_, found)
        node_commands.carry_out(transaction, deployment, command.cmd_node, wanted, found)
        for kind in wanted.kinds:
            # Whoever reads the queue asks at once what it is to do.
            transaction.pokes.beat(deployments.queue(deployment, kind))
    acknowledgements.settle_tasks(transaction, deployment)
    return get(transaction, deployment, str(id_)), False


def _check(transaction: Transaction, deployment: str, command: pb.Command) -> Wanted | None:
    if command.cmd_node not in pb.NodeCommand.values() or command.cmd_task not in pb.TaskCommand.values():
        raise BadRequestError(f"cmd_node {command.cmd_node}, cmd_task {command.cmd_task}: there is no such command")
    if not command.cmd_node and not command.cmd_task:
        raise BadRequestError(
            "cmd_node or cmd_task is needed: START_NODE, STOP_NODE, RESET_NODE or TERMINATE_NODE; STOP_TASK, "
            "RESET_TASK, PREEMPT_TASK or TERMINATE_TASK"
        )
    if len(command.source_node) > _LONGEST_SOURCE:
        raise BadRequestError(f"source_node: at most {_LONGEST_SOURCE} characters are allowed")
    if command.cmd_task:
        if not command.HasField("task_id"):
            raise BadRequestError(f"task_id: {pb.TaskCommand.Name(command.cmd_task)} needs one")
        iterations.row_of(transaction, deployment, command.task_id)
        if not command.target_node and not command.cmd_node:
            return None
    return targets.read(transaction, deployment, command.target_node)


def _to_task(transaction: Transaction, deployment: str, command: pb.Command, wanted: Wanted | None) -> Sequence[UUID]:
    """Do what a command does to a task; return the plans whose attempts are to stop before it is applied."""
    match command.cmd_task:
        case pb.STOP_TASK | pb.TERMINATE_TASK:
            final = command.cmd_task == pb.TERMINATE_TASK
            return stopping.stop(transaction, deployment, command.task_id, final=final)
        case pb.RESET_TASK:
            kind = wanted.kinds[0] if wanted is not None and len(wanted.kinds) == 1 else None
            resetting.reset(transaction, deployment, command.task_id, kind)
        case pb.PREEMPT_TASK:
            preempting.preempt(transaction, deployment, command.task_id)
    return []


def _event(deployment: str, id_: UUID, command: pb.Command) -> pb.CommandEvent:
    event = pb.CommandEvent(deployment=deployment, command_id=str(id_), state=pb.COMMAND_ACCEPTED)
    if command.HasField("task_id"):
        event.task_id.CopyFrom(command.task_id)
    return event


_COLUMNS = "id, deployment, organization, accepted_at, message, state, ended_at"
_GET = statement("SELECT $COLUMNS FROM module_commands WHERE id = :id AND deployment = :deployment", COLUMNS=_COLUMNS)


def _given_before(transaction: Transaction, deployment: str, id_: UUID, kept: bytes) -> pb.CommandRecord:
    row = transaction.connection.execute(_GET, {"id": id_, "deployment": deployment}).one_or_none()
    if row is None or row.message != kept:
        raise ConflictError(f"command_id: another command was given as {id_}; choose another id")
    return _records(transaction, [row])[0]


def get(transaction: Transaction, deployment: str, command_id: str) -> pb.CommandRecord:
    """Return a command and what became of it.

    Raises:
        NotFoundError: there is none.
    """
    deployments.enter(transaction, deployment)
    id_ = parse_key(command_id, "command_id")
    row = transaction.connection.execute(_GET, {"id": id_, "deployment": deployment}).one_or_none()
    if row is None:
        raise NotFoundError(f"command {command_id} was not given in this deployment; GET /api/control lists those")
    return _records(transaction, [row])[0]


_NEWEST = """
    SELECT $COLUMNS FROM module_commands
    WHERE deployment = :deployment AND $AFTER ORDER BY accepted_at DESC, id DESC LIMIT :limit
"""
_FIRST = statement(_NEWEST, COLUMNS=_COLUMNS, AFTER="true")
_OLDER = statement(
    _NEWEST,
    COLUMNS=_COLUMNS,
    AFTER="""
        (accepted_at, id) < (SELECT accepted_at, id FROM module_commands WHERE id = :after AND deployment = :deployment)
    """,
)


def newest(
    transaction: Transaction, deployment: str, limit: int, after: str | None = None
) -> Sequence[pb.CommandRecord]:
    """Return commands, the newest first.

    Args:
        transaction: of the caller.
        deployment: whose.
        limit: most of them.
        after: the id of the command before the first; None for the newest.
    """
    deployments.enter(transaction, deployment)
    parameters: dict[str, object] = {"deployment": deployment, "limit": limit}
    if after is None:
        return _records(transaction, transaction.connection.execute(_FIRST, parameters).all())
    parameters["after"] = parse_key(after, "after")
    return _records(transaction, transaction.connection.execute(_OLDER, parameters).all())


def _records(transaction: Transaction, rows: Sequence[Row]) -> list[pb.CommandRecord]:
    of_command = acknowledgements.of_commands(transaction, [row.id for row in rows])
    made = []
    for row in rows:
        record = pb.CommandRecord(
            command_id=str(row.id),
            command=pb.Command.FromString(row.message),
            state=row.state,
            organization=row.organization,
            targets=of_command.get(row.id, []),
        )
        told.stamp(record.accepted_at, row.accepted_at)
        if row.ended_at is not None:
            told.stamp(record.ended_at, row.ended_at)
        made.append(record)
    return made
