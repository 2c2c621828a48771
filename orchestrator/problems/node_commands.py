"""What START_NODE, STOP_NODE, RESET_NODE and TERMINATE_NODE change at once, before a module has heard of them."""

from collections.abc import Sequence

from orchestrator import protos as pb
from orchestrator.engine import queues
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import deployments, modules, taking_back
from orchestrator.problems.targets import Target, Wanted
from orchestrator.store.statements import statement

_WHICH = "deployment = :deployment AND kind = :kind AND (CAST(:name AS text) IS NULL OR name = :name)"
_STOP_KIND = statement("""
    INSERT INTO module_kinds (deployment, kind, stopped_at) VALUES (:deployment, :kind, :now)
    ON CONFLICT (deployment, kind) DO UPDATE SET stopped_at = coalesce(module_kinds.stopped_at, :now)
""")
_START_KIND = statement("""
    UPDATE module_kinds SET stopped_at = NULL
    WHERE deployment = :deployment AND kind = :kind AND stopped_at IS NOT NULL
    RETURNING kind
""")
# One of a kind that is stopped is started: the others stay stopped, each by itself.
_STOP_OTHERS = statement("""
    UPDATE modules SET stopped = true WHERE deployment = :deployment AND kind = :kind AND name <> :name
""")
_STOP = statement("UPDATE modules SET stopped = true WHERE $WHICH", WHICH=_WHICH)
_START = statement(
    "UPDATE modules SET stopped = false, set_aside = false, failed = false, failures = 0 WHERE $WHICH", WHICH=_WHICH
)
_RESTART = statement(
    "UPDATE modules SET restarting = true WHERE $WHICH AND phase <> $ENDED",
    WHICH=_WHICH,
    ENDED=str(int(pb.PHASE_ENDED)),
)
_TERMINATE = statement(
    "UPDATE modules SET phase = $TERMINATING WHERE $WHICH AND phase <> $ENDED",
    WHICH=_WHICH,
    TERMINATING=str(int(pb.PHASE_TERMINATING)),
    ENDED=str(int(pb.PHASE_ENDED)),
)


def close_gates(transaction: Transaction, deployment: str, wanted: Wanted) -> None:
    """Keep modules of the kinds that a command names from claiming, until the transaction ends."""
    for kind in wanted.kinds:
        modules.close_gate(transaction, deployment, kind)


def carry_out(
    transaction: Transaction,
    deployment: str,
    command: "pb.NodeCommand.ValueType",
    wanted: Wanted,
    targets: Sequence[Target],
) -> None:
    """Change what a command changes at once, and have its modules ask what they are to do.

    Args:
        transaction: that holds the gates of the kinds.
        deployment: whose.
        command: which.
        wanted: what it names.
        targets: the modules that it is for.
    """
    for kind in wanted.kinds:
        which = {"deployment": deployment, "kind": kind, "name": wanted.name, "now": transaction.now}
        if command == pb.STOP_NODE:
            transaction.connection.execute(_STOP if wanted.name else _STOP_KIND, which)
        if command in (pb.START_NODE, pb.RESET_NODE):
            started = transaction.connection.execute(_START_KIND, which)
            if started and wanted.name:
                transaction.connection.execute(_STOP_OTHERS, which)
            transaction.connection.execute(_START, which)
            queues.announce_again(transaction, deployments.queue(deployment, kind))
    for target in targets:
        if target.kind is None or target.name is None:
            continue
        which = {"deployment": deployment, "kind": target.kind, "name": target.name}
        if command == pb.RESET_NODE:
            transaction.connection.execute(_RESTART, which)
            running = taking_back.of_module(transaction, deployment, target.kind, target.name)
            taking_back.take_back(transaction, running, "its module starts afresh, by RESET_NODE")
        if command == pb.TERMINATE_NODE:
            transaction.connection.execute(_TERMINATE, which)
        modules.refresh(transaction, deployment, target.kind, target.name, pb.NodeCommand.Name(command))


_BACK = statement("""
    UPDATE modules SET restarting = false WHERE deployment = :deployment AND kind = :kind AND name = :name
""")


def settle(transaction: Transaction, deployment: str, kind: int, name: str) -> None:
    """Note that a module has started afresh, or could not."""
    transaction.connection.execute(_BACK, {"deployment": deployment, "kind": kind, "name": name})
    modules.refresh(transaction, deployment, kind, name)
