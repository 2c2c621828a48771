"""Compute plans."""

from uuid import UUID

from orchestrator import protos as pb
from orchestrator.compute import validation
from orchestrator.compute.assets import compute_plans
from orchestrator.compute.ownership import check_owner
from orchestrator.compute.tasks import KIND
from orchestrator.core.errors import BadRequestError, TerminatedPlanError
from orchestrator.core.fields import parse_key, parse_keys
from orchestrator.core.timestamps import timestamp
from orchestrator.engine import plans, retries, tasks
from orchestrator.engine.transaction import Transaction
from orchestrator.store import tables
from orchestrator.store.pages import Page

MOST_AT_ONCE = 1000
"""How many compute plans are counted in one call."""


def register(transaction: Transaction, new: pb.NewComputePlan) -> pb.ComputePlan:
    """Register a compute plan of the caller."""
    check(new)
    plan = pb.ComputePlan(
        key=new.key.lower(),
        owner=transaction.organization,
        creation_date=timestamp(transaction.now),
        tag=new.tag,
        name=new.name,
        metadata=new.metadata,
    )
    compute_plans.insert(transaction, plan)
    plans.register(transaction, UUID(plan.key), KIND)
    transaction.events.created(plan.key, plan)
    return plan


def check(new: pb.NewComputePlan) -> None:
    """Check a compute plan by itself.

    Raises:
        InvalidAssetError: it breaks a rule.
    """
    validation.check_plan(new)
    retries.check_metadata(new.metadata)


def get(transaction: Transaction, wanted: pb.GetComputePlanParam) -> pb.ComputePlan:
    """Return a compute plan."""
    return compute_plans.get(transaction, parse_key(wanted.key))


def query(transaction: Transaction, wanted: pb.QueryPlansParam) -> pb.QueryPlansResponse:
    """List compute plans, of one owner where asked."""
    owner = wanted.filter.owner
    conditions = [tables.compute_plans.c.owner == owner] if owner else []
    found, token = compute_plans.list(transaction, Page(wanted.page_token, wanted.page_size), *conditions)
    return pb.QueryPlansResponse(plans=found, next_page_token=token)


def update(transaction: Transaction, change: pb.UpdateComputePlanParam) -> pb.UpdateComputePlanResponse:
    """Rename a compute plan of the caller."""
    key = parse_key(change.key)
    validation.check_name(change.name)
    plans.guard(transaction, key)
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
    plans.hold(transaction, [key])
    plan = compute_plans.get(transaction, key, lock=True)
    check_owner(transaction, "compute plan", plan)
    live = plans.lock_live(transaction, key)
    if not plans.end(transaction, key, pb.STATUS_CANCELED):
        raise TerminatedPlanError(f"compute plan {key} has been cancelled or has failed already")
    plan.cancelation_date.FromDatetime(transaction.now)
    compute_plans.save(transaction, plan)
    transaction.events.updated(plan.key, plan)
    plans.cancel(transaction, live, f"compute plan {key} cancelled by its owner")
    return pb.ApplyPlanActionResponse()


def is_running(transaction: Transaction, wanted: pb.IsPlanRunningParam) -> pb.IsPlanRunningResponse:
    """Tell whether a compute plan still has something to do, and nothing of it has failed or was cancelled."""
    key = parse_key(wanted.key)
    plan = compute_plans.get(transaction, key)
    statuses = set(tasks.count_by_status(transaction, [key]).get(key, ()))
    running = (
        not is_terminated(plan)
        and not statuses & {pb.STATUS_CANCELED, pb.STATUS_FAILED}
        and bool(statuses - {pb.STATUS_DONE})
    )
    return pb.IsPlanRunningResponse(is_running=running)


def count_tasks(transaction: Transaction, wanted: pb.CountTasksParam) -> pb.CountTasksResponse:
    """Count the tasks of compute plans by their states; a plan without tasks, or that is not there, is left out."""
    if not 1 <= len(wanted.compute_plan_keys) <= MOST_AT_ONCE:
        raise BadRequestError(f"compute_plan_keys: 1 to {MOST_AT_ONCE} are taken at once")
    counts = tasks.count_by_status(transaction, set(parse_keys(wanted.compute_plan_keys, "compute_plan_keys")))
    return pb.CountTasksResponse(
        counts=[
            pb.PlanCount(
                compute_plan_key=str(plan),
                tasks=[pb.StatusCount(status=status, count=count) for status, count in sorted(found.items())],  # type: ignore[arg-type]
            )
            for plan, found in sorted(counts.items())
        ]
    )


def is_terminated(plan: pb.ComputePlan) -> bool:
    """Tell whether a compute plan was cancelled or has failed."""
    return plan.HasField("cancelation_date") or plan.HasField("failure_date")


def fail(transaction: Transaction, key: UUID) -> None:
    """Set the date of failure of a compute plan whose latch the transaction holds, unless it has ended already."""
    if plans.end(transaction, key, pb.STATUS_FAILED):
        plan = compute_plans.get(transaction, key)
        plan.failure_date.FromDatetime(transaction.now)
        compute_plans.save(transaction, plan)
        transaction.events.updated(plan.key, plan)
