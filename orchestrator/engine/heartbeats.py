"""Heartbeats: a node says that it lives and what it runs, and hears what must stop."""

from uuid import UUID

from orchestrator import protos as pb
from orchestrator.core import fields, pokes
from orchestrator.core.errors import PermissionDeniedError
from orchestrator.core.fields import parse_key
from orchestrator.core.timestamps import duration
from orchestrator.engine import attempts, kinds, nodes, tasks
from orchestrator.engine.transaction import Transaction


def heartbeat(transaction: Transaction, asked: pb.HeartbeatParam) -> pb.HeartbeatResponse:
    """Renew the leases of a node's attempts, and tell which of them must stop.

    An attempt of another organization, or of another channel, is treated as one of a task that does not exist.

    Raises:
        PermissionDeniedError: the queue that it reads is another organization's, or no kind of work lets it read it.
    """
    fields.check_text(asked.node, "node")
    queue = _queue(transaction, asked.queue)
    held = [_named(attempt) for attempt in asked.attempts]
    alive = attempts.renew(transaction, held, transaction.rules.lease) if held else set()
    ended = [named for named in held if named[:2] not in alive]
    attempts.receive(transaction, ended, stopped=False)
    attempts.receive(transaction, [_named(attempt) for attempt in asked.stopped], stopped=True)
    lost = [(key, number) for key, number, _ in ended]
    found = tasks.get_many(transaction, [key for key, _ in lost])
    stops = []
    for key, number in lost:
        task = found.get(key)
        ours = task is not None and task.worker == transaction.organization
        reason = f"the task is {task.word}" if task and ours else "the task does not exist"
        stops.append(pb.StopOrder(compute_task_key=str(key), number=number, reason=reason))
    nodes.hear(transaction, asked.node, len(held), queue, asked.slots)
    return pb.HeartbeatResponse(lease=duration(transaction.rules.lease), stops=stops)


def _queue(transaction: Transaction, named: str) -> str:
    own = pokes.queue(transaction.organization)
    if not named:
        return own
    fields.check_text(named, "queue")
    if named == own:
        return named
    if pokes.organization_of(named) is not None:
        raise PermissionDeniedError(f"queue {named} is another organization's; {own} is yours")
    # Who is heard at a queue decides how many pokes are sent to it, and a queue that was heard is kept.
    if not any(kind.reads(transaction, named) for kind in kinds.every()):
        raise PermissionDeniedError(
            f"queue {named}: no kind of work that is installed here lets {transaction.organization} read it; "
            f"{own} is yours"
        )
    return named


def _named(attempt: pb.Attempt) -> tuple[UUID, int, bytes]:
    return parse_key(attempt.compute_task_key, "compute_task_key"), attempt.number, attempts.digest(attempt.token)
