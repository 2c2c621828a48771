"""Nodes: which workers live, and what cancellations have reached."""

from orchestrator import protos as pb
from orchestrator.compute.assets import compute_plans
from orchestrator.core.fields import parse_key
from orchestrator.core.timestamps import duration, timestamp
from orchestrator.engine import attempts, nodes
from orchestrator.engine.transaction import Transaction


def get_all(transaction: Transaction, _: pb.GetNodesParam) -> pb.GetNodesResponse:
    """List the nodes of the channel's organizations."""
    return pb.GetNodesResponse(
        nodes=[
            pb.Node(
                organization=row.organization,
                name=row.name,
                last_heartbeat=timestamp(row.heard_at),
                attempts=row.attempts,
                certificate_ends=timestamp(row.certificate_ends) if row.certificate_ends else None,
                queue=row.queue,
                slots=row.slots or 0,
            )
            for row in nodes.of_channel(transaction)
        ],
        now=timestamp(transaction.now),
        lease=duration(transaction.rules.lease),
    )


def cancellation(transaction: Transaction, asked: pb.GetCancellationParam) -> pb.Cancellation:
    """Tell how far the cancellation of a compute plan's tasks has reached the processes that ran."""
    key = parse_key(asked.compute_plan_key, "compute_plan_key")
    compute_plans.get(transaction, key)
    return pb.Cancellation(
        receipts=[
            pb.StopReceipt(
                compute_task_key=str(row.task_key),
                number=row.number,
                worker=row.worker,
                node=row.node or "",
                requested=timestamp(row.ended_at),
                delivered=timestamp(row.delivered_at) if row.delivered_at else None,
                stopped=timestamp(row.stopped_at) if row.stopped_at else None,
            )
            for row in attempts.receipts(transaction, key)
        ],
        now=timestamp(transaction.now),
    )
