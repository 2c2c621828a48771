"""What became of commands at each of their targets: delivered, applied or failed, each with its time."""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from orchestrator import protos as pb
from orchestrator.core.fields import parse_key
from orchestrator.engine.attempts import UNACKNOWLEDGED
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import graph, node_commands, presence, told
from orchestrator.problems.targets import Target
from orchestrator.store.connection import Row
from orchestrator.store.statements import statement

_LONGEST_ERROR = 1000

_INSERT = statement("""
    INSERT INTO module_command_targets (command, number, deployment, kind, name, accepted_at, plans, state)
    SELECT :command, (SELECT count(*) FROM module_command_targets WHERE command = :command) + number, :deployment,
           kind, name, :now, CAST(:plans AS uuid[]), 0
    FROM unnest(CAST(:kinds AS smallint[]), CAST(:names AS text[])) WITH ORDINALITY AS target (kind, name, number)
""")


def insert(
    transaction: Transaction,
    deployment: str,
    command: UUID,
    targets: Sequence[Target],
    plans: Sequence[UUID] = (),
) -> None:
    """Note whom a command is for.

    Args:
        transaction: that accepts it.
        deployment: whose.
        command: its id.
        targets: the modules, or the orchestrator.
        plans: those whose attempts are to stop before it is applied.
    """
    transaction.connection.execute(
        _INSERT,
        {
            "command": command,
            "deployment": deployment,
            "now": transaction.now,
            "plans": list(plans),
            "kinds": [target.kind for target in targets],
            "names": [target.name for target in targets],
        },
    )


_OF = statement("""
    SELECT command, kind, name, state, delivered_at, at, error FROM module_command_targets
    WHERE command = ANY(CAST(:commands AS uuid[])) ORDER BY command, number
""")


def of_commands(transaction: Transaction, commands: Collection[UUID]) -> Mapping[UUID, Sequence[pb.CommandTarget]]:
    """Return what became of commands at their targets, by command."""
    found: dict[UUID, list[pb.CommandTarget]] = {}
    for row in transaction.connection.execute(_OF, {"commands": list(commands)}):
        made = pb.CommandTarget(node=Target(row.kind, row.name).node, state=row.state, error=row.error)
        if row.delivered_at is not None:
            told.stamp(made.delivered_at, row.delivered_at)
        if row.at is not None:
            told.stamp(made.at, row.at)
        found.setdefault(row.command, []).append(made)
    return found


# What is for the first of a kind becomes that of whoever asks first.
_DELIVER = statement("""
    WITH due AS (
             SELECT command, number FROM module_command_targets
             WHERE deployment = :deployment AND kind = :kind AND coalesce(name, :name) = :name AND state = 0
             ORDER BY accepted_at, command, number FOR UPDATE
         ),
         given AS (
             UPDATE module_command_targets
             SET name = :name, process_id = :process_id, delivered_at = coalesce(delivered_at, :now)
             FROM due WHERE module_command_targets.command = due.command AND module_command_targets.number = due.number
             RETURNING module_command_targets.command, module_command_targets.accepted_at
         )
    SELECT command, message FROM given JOIN module_commands ON id = command ORDER BY given.accepted_at, command
""")


def deliver(
    transaction: Transaction, deployment: str, kind: int, name: str, process_id: str
) -> Sequence[pb.ModuleCommand]:
    """Return the commands that a module has not said to have applied, and note that it has them."""
    parameters = {
        "deployment": deployment,
        "kind": kind,
        "name": name,
        "process_id": process_id,
        "now": transaction.now,
    }
    return [
        pb.ModuleCommand(command_id=str(row.command), command=pb.Command.FromString(row.message).cmd_node)
        for row in transaction.connection.execute(_DELIVER, parameters)
    ]


def take(
    transaction: Transaction, deployment: str, kind: int, name: str, outcomes: Sequence[pb.CommandOutcome]
) -> None:
    """Note what a module says of commands that it was given; what was settled before stays as it is."""
    for outcome in outcomes:
        command = parse_key(outcome.command_id, "command_id")
        settle(transaction, deployment, [(command, kind, name)], outcome.error)


_SETTLE = statement("""
    UPDATE module_command_targets SET state = :state, at = :now, error = :error
    WHERE command = :command AND deployment = :deployment AND state = 0
      AND kind IS NOT DISTINCT FROM CAST(:kind AS smallint) AND name IS NOT DISTINCT FROM CAST(:name AS text)
    RETURNING command
""")
_LOCK = statement("SELECT message, state FROM module_commands WHERE id = :command FOR NO KEY UPDATE")
_STATES = statement("SELECT DISTINCT state FROM module_command_targets WHERE command = :command")
_END = statement("UPDATE module_commands SET state = :state, ended_at = :now WHERE id = :command")


def settle(
    transaction: Transaction,
    deployment: str,
    which: Sequence[tuple[UUID, int | None, str | None]],
    error: str = "",
) -> int:
    """Note that targets of commands have applied them, or have failed; return how many had not been settled before.

    Args:
        transaction: of whoever knows.
        deployment: whose.
        which: command, kind and name of each.
        error: why they have failed; empty where they are applied.
    """
    settled = 0
    for command, kind, name in which:
        locked = transaction.connection.execute(_LOCK, {"command": command}).one_or_none()
        transaction.locked()
        state = pb.COMMAND_FAILED if error else pb.COMMAND_APPLIED
        parameters = {
            "command": command,
            "deployment": deployment,
            "kind": kind,
            "name": name,
            "state": state,
            "now": transaction.now,
            "error": error[:_LONGEST_ERROR].replace("\0", ""),
        }
        if locked is None or not transaction.connection.execute(_SETTLE, parameters):
            continue
        settled += 1
        _tell(transaction, deployment, command, locked, state, Target(kind, name).node)
        states = set(transaction.connection.execute(_STATES, {"command": command}).scalars())
        whole = pb.COMMAND_FAILED if pb.COMMAND_FAILED in states else pb.COMMAND_APPLIED
        if locked.state == pb.COMMAND_ACCEPTED and (whole == pb.COMMAND_FAILED or states == {pb.COMMAND_APPLIED}):
            transaction.connection.execute(_END, {"command": command, "state": whole, "now": transaction.now})
            _tell(transaction, deployment, command, locked, whole, "")
        if kind is not None and name is not None:
            node_commands.settle(transaction, deployment, kind, name)
    return settled


def _tell(
    transaction: Transaction,
    deployment: str,
    command: UUID,
    row: Row,
    state: "pb.CommandState.ValueType",
    target: str,
) -> None:
    event = pb.CommandEvent(deployment=deployment, command_id=str(command), state=state, target=target)
    said = pb.Command.FromString(row.message)
    if said.HasField("task_id"):
        event.task_id.CopyFrom(said.task_id)
    told.tell(transaction, str(command), event)


_GIVEN = statement("""
    SELECT command, message FROM module_command_targets JOIN module_commands ON id = command
    WHERE module_command_targets.deployment = :deployment AND kind = :kind AND name = :name
      AND module_command_targets.state = 0 AND delivered_at IS NOT NULL
    ORDER BY command
""")


def succeed(transaction: Transaction, deployment: str, kind: int, name: str) -> None:
    """Note that a process which was told to end, or to start afresh, has done so: another one has its name."""
    parameters = {"deployment": deployment, "kind": kind, "name": name}
    for row in transaction.connection.execute(_GIVEN, parameters).all():
        if pb.Command.FromString(row.message).cmd_node in (pb.RESET_NODE, pb.TERMINATE_NODE):
            settle(transaction, deployment, [(row.command, kind, name)])


# A module that has gone runs nothing any more.
_STILL = statement(
    """
    SELECT command, module_command_targets.accepted_at FROM module_command_targets
    WHERE deployment = :deployment AND state = 0 AND kind IS NULL
      AND NOT EXISTS (
          SELECT FROM attempts JOIN tasks ON tasks.key = task_key
          WHERE plan_key = ANY(plans) AND $UNACKNOWLEDGED
            AND EXISTS (SELECT FROM modules
                        WHERE modules.deployment = module_command_targets.deployment
                          AND node = modules.deployment || '/' ||
                              CASE modules.kind $NAMES END || '/' || modules.name
                          AND phase <> $ENDED AND heard_at > CAST(:now AS timestamptz) - CAST(:silence AS interval)))
    ORDER BY command
    """,
    UNACKNOWLEDGED=UNACKNOWLEDGED,
    NAMES=" ".join(f"WHEN {number} THEN '{kind.name}'" for number, kind in graph.KINDS.items()),
    ENDED=str(int(pb.PHASE_ENDED)),
)


def settle_tasks(transaction: Transaction, deployment: str) -> int:
    """Note that commands to tasks are applied for which no attempt runs any more; return how many."""
    parameters = {"deployment": deployment, "now": transaction.now, "silence": presence.silence()}
    rows = transaction.connection.execute(_STILL, parameters).all()
    return settle(transaction, deployment, [(row.command, None, None) for row in rows])
