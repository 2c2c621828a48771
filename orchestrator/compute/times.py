"""When the tasks of a compute plan ran."""

from orchestrator import protos as pb
from orchestrator.compute.assets import compute_plans
from orchestrator.core.fields import parse_key
from orchestrator.core.timestamps import timestamp
from orchestrator.engine import attempts
from orchestrator.engine.transaction import Transaction
from orchestrator.store.pages import Page


def query(transaction: Transaction, wanted: pb.QueryPlanTimesParam) -> pb.QueryPlanTimesResponse:
    """List when each task of a compute plan that has begun ran last, in the order of registration.

    Raises:
        NotFoundError: the channel has no such compute plan.
    """
    plan = parse_key(wanted.compute_plan_key, "compute_plan_key")
    compute_plans.get(transaction, plan)
    rows, token = attempts.page(transaction, plan, Page(wanted.page_token, wanted.page_size))
    times = [
        pb.TaskTimes(
            compute_task_key=str(row["key"]),
            attempts=row["attempts"],
            began=timestamp(row["claimed_at"]) if row["claimed_at"] else None,
            ended=timestamp(row["ended_at"]) if row["ended_at"] else None,
        )
        for row in rows
    ]
    return pb.QueryPlanTimesResponse(times=times, next_page_token=token, now=timestamp(transaction.now))
