"""How a compute plan is registered and cancelled, so that a lost answer does nothing twice."""

from functools import partial
from typing import Any

from orchestrator import protos as pb
from orchestrator.client.errors import CallError
from orchestrator.client.plan import Plan
from orchestrator.client.steps import Steps, settle
from orchestrator.client.task import Task


def submit(plan: Plan[Any], batch: int) -> Steps[None]:
    """Register what is not registered yet of a compute plan.

    Args:
        plan: which.
        batch: tasks registered with one call.

    Raises:
        ValueError: the batch has no task.
        CallError: the orchestrator refused, or does not answer.
    """
    if batch < 1:
        raise ValueError(f"a batch has 1 task or more, not {batch}")
    if not plan.registered:
        yield from _register(plan, [])
        plan.registered = True
    while plan.submitted < len(plan.tasks):
        # What was sent is sent again as it was: all of it is there, or nothing.
        tasks = plan.sending or plan.tasks[plan.submitted :][:batch]
        yield from _register(plan, tasks)
        plan.submitted += len(tasks)


def _register(plan: Plan[Any], tasks: list[Task]) -> Steps[None]:
    """Register tasks, or the plan itself when there are none."""
    sent_before = plan.sending is not None
    plan.sending = tasks
    try:
        yield from settle(
            partial(_send, plan=plan, tasks=tasks),
            partial(_look, plan=plan, tasks=tasks),
            lambda found: (found.compute_plan_key if tasks else found.key) == plan.key,
            sent_before,
        )
    except CallError as error:
        if not error.lost:
            plan.sending = None
        raise
    plan.sending = None


def _send(client: Any, plan: Plan[Any], tasks: list[Task]) -> Any:
    if tasks:
        return client.tasks.RegisterTasks(pb.RegisterTasksParam(tasks=[task.message for task in tasks]))
    return client.plans.RegisterPlan(plan.message)


def _look(client: Any, plan: Plan[Any], tasks: list[Task]) -> Any:
    if tasks:
        return client.tasks.GetTask(pb.GetTaskParam(key=tasks[0].key))
    return client.plans.GetPlan(pb.GetComputePlanParam(key=plan.key))


def cancel(key: str) -> Steps[None]:
    """Cancel a compute plan.

    Args:
        key: of the plan.

    Raises:
        CallError: the orchestrator refused, or does not answer.
    """
    yield from settle(
        lambda client: client.plans.ApplyPlanAction(pb.ApplyPlanActionParam(key=key, action=pb.PLAN_ACTION_CANCELED)),
        lambda client: client.plans.GetPlan(pb.GetComputePlanParam(key=key)),
        lambda plan: bool(plan.HasField("cancelation_date")),
    )
