"""Modules make themselves known, say how they are, and are told what to do."""

from datetime import timedelta

from orchestrator import protos as pb
from orchestrator.core import fields
from orchestrator.core.errors import ConflictError, InvalidAssetError, NotFoundError
from orchestrator.core.timestamps import duration
from orchestrator.engine import heartbeats, queues
from orchestrator.engine.transaction import Transaction
from orchestrator.problems import (
    acknowledgements,
    configuration,
    deployments,
    graph,
    losing,
    modules,
    settings,
    stopping,
    taking_back,
)
from orchestrator.store.connection import Row
from orchestrator.store.statements import statement

_LONGEST_NAME = 40
_LONGEST_REASON = 500
_MOST_SLOTS = 1000

_REGISTER = statement("""
    INSERT INTO modules (deployment, kind, name, process_id, registered_at, heard_at, phase, slots, told_at)
    VALUES (:deployment, :kind, :name, :process_id, :now, :now, :phase, :slots, :now)
    ON CONFLICT (deployment, kind, name)
    DO UPDATE SET process_id = :process_id, registered_at = :now, heard_at = :now, phase = :phase, slots = :slots,
                  reason = ''
""")


def register(transaction: Transaction, asked: pb.RegisterModuleParam) -> pb.RegisterModuleResponse:
    """Make a module known; one that was silent, or has ended, is continued by whoever comes under its name.

    Raises:
        InvalidAssetError: it is of an unknown kind, or its name is none.
        ConflictError: a living module has the name.
        PermissionDeniedError: the deployment is another organization's.
    """
    _check(asked)
    deployments.enter(transaction, asked.deployment)
    known = modules.lock(transaction, asked.deployment, asked.kind, asked.name)
    if known is not None and known.lives and known.process_id != asked.process_id:
        raise ConflictError(
            f"a living module is called {graph.KINDS[asked.kind].name}/{asked.name} in deployment {asked.deployment}: "
            "choose another name (SUSTAINML_NODE_NAME), or end that one"
        )
    transaction.connection.execute(
        _REGISTER,
        {
            "deployment": asked.deployment,
            "kind": asked.kind,
            "name": asked.name,
            "process_id": asked.process_id,
            "phase": pb.PHASE_INITIALIZING,
            "slots": asked.slots,
            "now": transaction.now,
        },
    )
    if known is not None and known.process_id != asked.process_id:
        losing.lose_module(transaction, asked.deployment, asked.kind, asked.name, "its process has ended")
        configuration.give_back(transaction, asked.deployment, asked.kind, asked.name)
        acknowledgements.succeed(transaction, asked.deployment, asked.kind, asked.name)
    row = _refreshed(transaction, asked.deployment, asked.kind, asked.name)
    said = settings.current()
    return pb.RegisterModuleResponse(
        queue=deployments.queue(asked.deployment, asked.kind),
        node=deployments.node(asked.deployment, asked.kind, asked.name),
        period=duration(timedelta(seconds=said.module_period)),
        grace=duration(timedelta(seconds=said.problems_grace)),
        drain=duration(timedelta(seconds=said.problems_drain)),
        accepting=modules.accepts(row),
        kind_name=graph.KINDS[asked.kind].name,
        organization=transaction.organization,
        largest_output=said.problems_largest_output,
    )


def _check(asked: pb.RegisterModuleParam) -> None:
    if asked.kind not in graph.KINDS:
        known = ", ".join(f"{number} {kind.name}" for number, kind in sorted(graph.KINDS.items()))
        raise InvalidAssetError(f"kind: {asked.kind} is no kind of module; there are {known}")
    fields.check_text(asked.name, "name", least=1, most=_LONGEST_NAME)
    if "/" in asked.name or not asked.name.isprintable():
        raise InvalidAssetError(f"name: {fields.shown(asked.name)} has a slash or a sign that cannot be printed")
    fields.check_text(asked.process_id, "process_id", least=1)
    if not 1 <= asked.slots <= _MOST_SLOTS:
        raise InvalidAssetError(f"slots: 1 to {_MOST_SLOTS} are expected, not {asked.slots}")


_REPORT = statement(
    """
    UPDATE modules
    SET heard_at = :now, reason = :reason, slots = :slots,
        phase = CASE WHEN phase = $TERMINATING AND :phase <> $ENDED THEN phase ELSE :phase END
    WHERE deployment = :deployment AND kind = :kind AND name = :name
    """,
    TERMINATING=str(int(pb.PHASE_TERMINATING)),
    ENDED=str(int(pb.PHASE_ENDED)),
)


def report(transaction: Transaction, asked: pb.ReportModuleParam) -> pb.ReportModuleResponse:
    """Note how a module is and what became of what it was told; say what it is to do.

    Raises:
        NotFoundError: it is not known, or another process has its name: it is to register again.
    """
    deployments.enter(transaction, asked.deployment)
    row = modules.find(transaction, asked.deployment, asked.kind, asked.name) if asked.kind in graph.KINDS else None
    if row is None or row.process_id != asked.process_id:
        raise NotFoundError(
            f"module {fields.shown(asked.name)} is not known in deployment {asked.deployment}, or another process has "
            "its name; register again"
        )
    beaten = heartbeats.heartbeat(
        transaction,
        pb.HeartbeatParam(
            node=deployments.node(asked.deployment, asked.kind, asked.name),
            attempts=asked.attempts,
            stopped=asked.stopped,
            slots=asked.slots or row.slots,
            queue=deployments.queue(asked.deployment, asked.kind),
        ),
    )
    transaction.connection.execute(
        _REPORT,
        {
            "deployment": asked.deployment,
            "kind": asked.kind,
            "name": asked.name,
            "phase": asked.phase,
            "reason": asked.reason[:_LONGEST_REASON].replace("\0", ""),
            "slots": asked.slots or row.slots,
            "now": transaction.now,
        },
    )
    configuration.take(transaction, asked.deployment, asked.kind, asked.name, asked.answers)
    acknowledgements.take(transaction, asked.deployment, asked.kind, asked.name, asked.outcomes)
    ended = asked.phase == pb.PHASE_ENDED
    if asked.stopped or ended:
        acknowledgements.settle_tasks(transaction, asked.deployment)
    if ended or (asked.phase == pb.PHASE_INITIALIZING and not asked.attempts):
        # What it ran before it started afresh runs no more.
        _give_back(transaction, asked)
    if ended:
        configuration.give_back(transaction, asked.deployment, asked.kind, asked.name)
    before, row = row, _refreshed(transaction, asked.deployment, asked.kind, asked.name)
    if ended or asked.outcomes or _takes(row) > _takes(before):
        # Pokes may have been taken in vain while it was about to stop, or to start.
        queues.announce_again(transaction, deployments.queue(asked.deployment, asked.kind))
    which = (asked.deployment, asked.kind, asked.name)
    grace = duration(timedelta(seconds=settings.current().problems_grace))
    for_good = stopping.for_good(transaction, asked.deployment, [stop.compute_task_key for stop in beaten.stops])
    return pb.ReportModuleResponse(
        lease=beaten.lease,
        stops=[
            pb.StageStop(
                compute_task_key=stop.compute_task_key,
                number=stop.number,
                reason=stop.reason,
                grace=duration(timedelta()) if stop.compute_task_key in for_good else grace,
            )
            for stop in beaten.stops
        ],
        commands=[] if ended else acknowledgements.deliver(transaction, *which, asked.process_id),
        requests=[] if ended or asked.phase != pb.PHASE_SPINNING else configuration.deliver(transaction, *which),
        accepting=modules.accepts(row),
        reason=modules.refusal(row),
    )


def _takes(row: Row) -> bool:
    return row.phase == pb.PHASE_SPINNING and modules.accepts(row)


def _give_back(transaction: Transaction, asked: pb.ReportModuleParam) -> None:
    """Have the stages wait again that a module ran which has ended."""
    running = taking_back.of_module(transaction, asked.deployment, asked.kind, asked.name)
    taking_back.take_back(transaction, running, "its module has ended")


def _refreshed(transaction: Transaction, deployment: str, kind: int, name: str) -> Row:
    row = modules.refresh(transaction, deployment, kind, name)
    if row is None:
        raise NotFoundError(f"module {name} is gone; register again")
    return row
