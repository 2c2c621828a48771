"""How a compute plan ended: well, or with a reason and what to do next."""

from orchestrator import protos as pb
from orchestrator.client import failures
from orchestrator.client.errors import CallError, PlanEndedError
from orchestrator.client.explanation import Explanation, explain
from orchestrator.client.printing import printable
from orchestrator.client.progress import Progress
from orchestrator.client.shown import SHORT_KEY
from orchestrator.client.steps import Steps
from orchestrator.client.stores import Stores
from orchestrator.core.states import TERMINAL


def outcome(stores: Stores, key: str, progress: Progress) -> Steps[str]:
    """Return the state of a compute plan that has ended, which is Done.

    Args:
        stores: how asset stores are reached, where the logs are.
        key: of the plan.
        progress: of the plan.

    Raises:
        PlanEndedError: it failed or was cancelled.
        CallError: the orchestrator does not answer.
    """
    if progress.state == "Done":
        return progress.state
    name = f" {printable(progress.plan.name)!r}" if progress.plan else ""
    said = f"compute plan{name} ({key}) {'failed' if progress.state == 'Failed' else 'was cancelled'}"
    failed = [task for task in progress.tasks.values() if task.status == pb.STATUS_FAILED]
    if progress.state == "Failed" and failed:
        said += f": {(yield from _why(stores, failed[0]))}"
        if len(failed) > 1:
            said += f"\n{len(failed) - 1} more of its tasks failed"
    else:
        said += f", with {progress.told}"
    short = key[:SHORT_KEY]
    raise PlanEndedError(
        f"{said}\nSee all of it with `orchestrator plan show {short}`; what is Done is reused by "
        f"`orchestrator plan retry {short}`, or `client.retry(plan)`",
        progress,
    )


def overdue(progress: Progress, error: TimeoutError) -> Steps[TimeoutError]:
    """Return the error of a wait that has been given up, with what a plan's first task waits for.

    Args:
        progress: of the plan.
        error: as it was raised.
    """
    live = [task for task in progress.tasks.values() if task.status not in TERMINAL]
    if not live:
        return error
    first = min(live, key=lambda task: (task.status == pb.STATUS_WAITING_FOR_PARENT_TASKS, task.rank))
    try:
        told: Explanation = yield from explain(first)
    except CallError:
        # It is away, or of before.
        return error
    return TimeoutError(f"{error}\nTask {first.key[:SHORT_KEY]} at {first.worker}: {told.sentence}")


def _why(stores: Stores, task: pb.ComputeTask) -> Steps[str]:
    function = yield lambda client: client.functions.GetFunction(pb.GetFunctionParam(key=task.function_key))
    short = task.key[:SHORT_KEY]
    said = f"task {short} ({printable(function.name)}, rank {task.rank}) failed"
    if failure := (yield from failures.of(stores, task.key)):
        read = f"\nRead all of its log with `orchestrator task logs {short}`, or `client.log(task)`"
        return f"{said}: {failure.told}{read if failure.has_log else ''}"
    if failure := (yield from failures.of(stores, function.key)):
        return f"{said}, as its function was not built: {failure.told}"
    return f"{said} at {task.worker}"
