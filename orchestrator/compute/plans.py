"""Compute plans."""

from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute import validation
from orchestrator.compute.assets import compute_plans
from orchestrator.compute.ownership import check_owner
from orchestrator.core.errors import BadRequestError, TerminatedPlanError
from orchestrator.core.fields import parse_key
from orchestrator.core.timestamps import timestamp
from orchestrator.engine import outbox, retries, tasks, transitions
from orchestrator.engine import plans as latch
from orchestrator.engine.transaction import Transaction
from orchestrator.store import tables
from orchestrator.store.pages import Page


def register(transaction: Transaction, new: pb.NewComputePlan) -> pb.ComputePlan:
    """Register a compute plan of the caller."""
    validation.check_plan(new)
    retries.check_metadata(new.metadata)
    plan = pb.ComputePlan(
        key=new.key.lower(),
        owner=transaction.organization,
        creation_date=timestamp(transaction.now),
        tag=new.tag,
        name=new.name,
        metadata=new.metadata,
    )
    compute_plans.insert(transaction, plan)
    transaction.events.created(plan.key, plan)
    return plan


def get(transaction: Transaction, wanted: pb.GetComputePlanParam) -> pb.ComputePlan:
    """Return a compute plan."""
    return compute_plans.get(transaction, parse_key(wanted.key))


def query(transaction: Transaction, wanted: pb.QueryPlansParam) -> pb.QueryPlansResponse:
    """List compute plans, of one owner where asked."""
    owner = wanted.filter.owner
    conditions = [tables.compute_plans.c.owner == owner] if owner else []
    plans, token = compute_plans.list(transaction, Page(wanted.page_token, wanted.page_size), *conditions)
    return pb.QueryPlansResponse(plans=plans, next_page_token=token)


def update(transaction: Transaction, change: pb.UpdateComputePlanParam) -> pb.UpdateComputePlanResponse:
    """Rename a compute plan of the caller."""
    key = parse_key(change.key)
    validation.check_name(change.name)
    plan = compute_plans.get(transaction, key, lock=True)
    check_owner(transaction, "compute plan", plan)
    plan.name = change.name
    compute_plans.save(transaction, plan)
    transaction.events.updated(plan.key, plan)
    return pb.UpdateComputePlanResponse()


def apply_action(transaction: Transaction, asked: pb.ApplyPlanActionParam) -> pb.ApplyPlanActionResponse:
    """Cancel a compute plan of the caller, and those of its tasks that have not ended."""
    key = parse_key(asked.key)
    if asked.action != pb.PLAN_ACTION_CANCELED:
        raise BadRequestError("action: a compute plan can only be cancelled (PLAN_ACTION_CANCELED)")
    plan = compute_plans.get(transaction, key, lock=True)
    check_owner(transaction, "compute plan", plan)
    if is_terminated(plan):
        raise TerminatedPlanError(f"compute plan {key} has been cancelled or has failed already")
    ended = transitions.cancel_plan(transaction, key)
    plan.cancelation_date.FromDatetime(transaction.now)
    compute_plans.save(transaction, plan, ended_at=transaction.now)
    transaction.events.updated(plan.key, plan)
    outbox.drop_unsent(transaction.connection, [moved.key for moved in ended])
    for moved in ended:
        transaction.events.updated(moved.task.key, moved.task, f"compute plan {key} cancelled by its owner")
        if moved.ran is not None:
            transaction.pokes.stop(moved.worker, moved.key, moved.ran)
    return pb.ApplyPlanActionResponse()


def is_running(transaction: Transaction, wanted: pb.IsPlanRunningParam) -> pb.IsPlanRunningResponse:
    """Tell whether a compute plan still has something to do, and nothing of it has failed or was cancelled."""
    key = parse_key(wanted.key)
    plan = compute_plans.get(transaction, key)
    statuses = set(tasks.count_by_status(transaction, key))
    running = (
        not is_terminated(plan)
        and not statuses & {pb.STATUS_CANCELED, pb.STATUS_FAILED}
        and bool(statuses - {pb.STATUS_DONE})
    )
    return pb.IsPlanRunningResponse(is_running=running)


def is_terminated(plan: pb.ComputePlan) -> bool:
    """Tell whether a compute plan was cancelled or has failed."""
    return plan.HasField("cancelation_date") or plan.HasField("failure_date")


def fail(transaction: Transaction, plan: pb.ComputePlan) -> None:
    """Set the date of failure of a compute plan that the transaction has locked, unless it has ended already."""
    if not is_terminated(plan):
        plan.failure_date.FromDatetime(transaction.now)
        compute_plans.save(transaction, plan, ended_at=transaction.now)
        transaction.events.updated(plan.key, plan)


def cancel_stuck(transaction: Transaction, key: UUID) -> int:
    """Cancel the tasks of a compute plan that can never run; return how many, none while others hold the plan."""
    if not latch.take_plan(transaction.connection, key):
        return 0
    plan = compute_plans.get(transaction, key, lock=True)
    ended = transitions.cancel_stuck(transaction, key, is_terminated(plan))
    outbox.drop_unsent(transaction.connection, [moved.key for moved in ended])
    reason = "its compute plan has ended" if is_terminated(plan) else "a parent has failed or was cancelled"
    for moved in ended:
        transaction.events.updated(moved.task.key, moved.task, reason)
    return len(ended)
