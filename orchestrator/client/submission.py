"""How a compute plan is registered and cancelled, so that a lost answer does nothing twice."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate, takewhile
from typing import Any

import grpc

from orchestrator import protos as pb
from orchestrator.client import continuation
from orchestrator.client.errors import CallError, PlanError
from orchestrator.client.live import Told
from orchestrator.client.parts import parts
from orchestrator.client.plan import Plan
from orchestrator.client.steps import Steps, repeat, seconds_for, settle
from orchestrator.client.task import Task

_BATCH_BYTES = 32 * 1024 * 1024


def submit(plan: Plan[Any], batch: int, told: Told) -> Steps[None]:
    """Register what is not registered yet of a compute plan: the first time the whole of it, or nothing.

    An orchestrator of before, which takes no whole plan, is sent the plan, then its tasks in batches.

    Args:
        plan: which.
        batch: tasks registered with one call, where they are not sent whole.
        told: how many tasks were sent so far; also from another thread.

    Raises:
        ValueError: the batch has no task.
        CallError: the orchestrator refused, or does not answer.
    """
    if batch < 1:
        raise ValueError(f"a batch has 1 task or more, not {batch}")
    before = plan.submitted
    if not plan.registered and not (yield from _whole(plan, told)):
        yield from _register(plan, [])
        plan.registered = True
    while plan.submitted < len(plan.tasks):
        # What was sent is sent again as it was: all of it is there, or nothing.
        tasks = plan.sending or _batch(plan.tasks[plan.submitted :], batch)
        yield from _register(plan, tasks)
        plan.submitted += len(tasks)
        told(plan.submitted - before)


def _whole(plan: Plan[Any], told: Told) -> Steps[bool]:
    """Register a plan with all its tasks; return False where the orchestrator takes no whole plans."""
    # What was sent is sent again as it was, by the same call: the same again changes nothing.
    tasks = list(plan.tasks) if plan.sending is None else plan.sending
    plan.sending = tasks
    sent = list(parts(plan.message, [task.message for task in tasks], pb.SubmitPlanParam))
    seconds = seconds_for(len(tasks))
    try:
        yield from repeat(lambda client: client.submissions.SubmitPlan(_telling(sent, told), timeout=seconds))
    except CallError as error:
        if not error.lost:
            plan.sending = None
        if error.status is not grpc.StatusCode.UNIMPLEMENTED:
            raise
        return False
    plan.sending = None
    plan.registered, plan.submitted = True, len(tasks)
    return True


def _telling(sent: Iterable[pb.SubmitPlanParam], told: Told) -> Iterator[pb.SubmitPlanParam]:
    """Yield the parts of a plan, and tell how many tasks were in those that are on their way."""
    count = 0
    for part in sent:
        yield part
        count += len(part.tasks)
        told(count)


def rerun(
    first: str,
    edited: Plan[Any] | None,
    name: str,
    replacements: continuation.Replacements | None,
    key: str | None,
) -> Steps[continuation.Continuation]:
    """Register a plan like another, or as it was written anew; see `Client.rerun`."""
    if edited is None:
        return (yield from continuation.rerun(first, name, replacements, key))
    if name or replacements or key:
        raise PlanError("an edited plan has its own name, key, functions and inputs: nothing else is given beside it")
    return (yield from _resubmit(first, edited))


def _resubmit(first: str, edited: Plan[Any]) -> Steps[continuation.Continuation]:
    if edited.registered:
        raise PlanError(f"compute plan {edited.key} is submitted already: what is run anew has a key of its own")
    sent = list(parts(edited.message, [task.message for task in edited.tasks], pb.SubmitRerunParam))
    sent[0].head.rerun_of = first
    seconds = seconds_for(len(edited.tasks))
    answer = yield from repeat(lambda client: client.submissions.SubmitRerun(iter(sent), timeout=seconds))
    edited.registered, edited.submitted = True, len(edited.tasks)
    stands = {task.compute_task_key: task.origin_task_key for task in answer.tasks if task.reused}
    for task in edited.tasks:
        if task.key in stands:
            task.reuse(stands[task.key])
    return continuation.of(answer)


def _batch(tasks: Sequence[Task], most: int, most_bytes: int = _BATCH_BYTES) -> list[Task]:
    """Return the first tasks that one call takes: as many as asked for at most, and one at least."""
    sizes = accumulate(task.message.ByteSize() for task in tasks[:most])
    fitting = sum(1 for _ in takewhile(lambda size: size <= most_bytes, sizes))
    return list(tasks[: max(1, fitting)])


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
