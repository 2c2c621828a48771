"""What the orchestrator has: rows of its lists, and what no list of it tells."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from orchestrator import protos as pb
from orchestrator.client import lists
from orchestrator.client.connection import Client
from orchestrator.client.errors import CallError
from orchestrator.client.lists import PAGE, pages
from orchestrator.client.substra.models import Span, moment
from orchestrator.core.states import TERMINAL

_FEW = 10
_UNKNOWN = "OE0002"
_BEGUN = frozenset({*TERMINAL, pb.STATUS_EXECUTING})


def data_samples(client: Client, keys: Sequence[str] = ()) -> Iterator[pb.DataSample]:
    """Yield the data samples of the channel, or those with some keys."""
    wanted = pb.QueryDataSamplesParam(filter=pb.DataSampleQueryFilter(keys=keys))
    return pages(client.data_samples.QueryDataSamples, wanted, "data_samples")


def failed(client: Client, plan: str) -> list[pb.ComputeTask]:
    """Return the tasks of a compute plan that failed."""
    wanted = pb.TaskQueryFilter(compute_plan_key=plan, status=pb.STATUS_FAILED)
    return list(lists.tasks(client, wanted))


def tasks(client: Client, filters: Mapping[str, list[str]] | None = None) -> Iterator[pb.ComputeTask]:
    """Yield tasks, those with one of these `key`, `compute_plan_key`, `worker` and `function_key`."""
    filters = filters or {}
    if "key" in filters:
        fields = [name for name in ("compute_plan_key", "worker", "function_key") if name in filters]
        known = (_task(client, key) for key in filters["key"])
        yield from (task for task in known if task and all(getattr(task, name) in filters[name] for name in fields))
        return
    for plan in filters.get("compute_plan_key", [""]):
        for worker in filters.get("worker", [""]):
            for function in filters.get("function_key", [""]):
                wanted = pb.TaskQueryFilter(compute_plan_key=plan, worker=worker, function_key=function)
                yield from lists.tasks(client, wanted)


def _task(client: Client, key: str) -> pb.ComputeTask | None:
    try:
        return client.tasks.GetTask(pb.GetTaskParam(key=key))
    except CallError as error:
        if error.oe_code != _UNKNOWN:
            raise
        return None


def models(client: Client) -> Iterator[pb.Model]:
    """Yield the models of the channel as they are now; no call lists them, and the events tell of each."""
    wanted = pb.QueryEventsParam(filter=pb.EventQueryFilter(asset_kind=pb.ASSET_MODEL))
    found = {event.asset_key: event.model for event in pages(client.events.QueryEvents, wanted, "events")}
    return iter(found.values())


def counts(client: Client, plans: Sequence[str]) -> "dict[str, Mapping[pb.ComputeTaskStatus.ValueType, int]]":
    """Return how many tasks of compute plans have each status, by the keys of the plans."""
    found: dict[str, Mapping[pb.ComputeTaskStatus.ValueType, int]] = {}
    for begin in range(0, len(plans), PAGE):
        some = pb.CountTasksParam(compute_plan_keys=plans[begin : begin + PAGE])
        for plan in client.inspection.CountTasks(some).counts:
            found[plan.compute_plan_key] = {each.status: each.count for each in plan.tasks}
    return found


def times(client: Client, plan: str) -> dict[str, Span]:
    """Return when tasks of a compute plan ran, by their keys; what ended long ago is forgotten."""
    asked = pb.QueryPlanTimesParam(compute_plan_key=plan)
    return {
        each.compute_task_key: Span(moment(each.began), moment(each.ended) if each.HasField("ended") else None)
        for each in pages(client.inspection.QueryPlanTimes, asked, "times")
        if each.HasField("began")
    }


def spans(client: Client, tasks: Collection[pb.ComputeTask]) -> dict[str, Span]:
    """Return when tasks ran, and when those ended that never did, by their keys.

    Args:
        client: who asks.
        tasks: which.
    """
    found: dict[str, Span] = {}
    if len(tasks) > _FEW:
        for plan in {task.compute_plan_key for task in tasks}:
            found |= times(client, plan)
    return found | _told(client, [task for task in tasks if task.key not in found and task.status in _BEGUN])


def _told(client: Client, tasks: Collection[pb.ComputeTask]) -> dict[str, Span]:
    """Return when tasks ran, as the events tell it: of few tasks each one's, of more all since the first of them."""
    found = {task.key: Span() for task in tasks}
    left = {task.key for task in tasks if task.status in TERMINAL}
    for event in _events(client, tasks):
        task = event.compute_task
        if task.key not in found:
            continue
        if task.status == pb.STATUS_EXECUTING:
            found[task.key] = Span(moment(event.timestamp))
        elif task.status in TERMINAL and task.key in left:
            left.remove(task.key)
            found[task.key] = Span(found[task.key].start, moment(event.timestamp))
            if not left:
                break
    return found


def _events(client: Client, tasks: Collection[pb.ComputeTask]) -> Iterator[pb.Event]:
    def those(**more: Any) -> Iterator[pb.Event]:
        wanted = pb.EventQueryFilter(asset_kind=pb.ASSET_COMPUTE_TASK, **more)
        return pages(client.events.QueryEvents, pb.QueryEventsParam(filter=wanted), "events")

    if len(tasks) <= _FEW:
        for task in tasks:
            yield from those(asset_key=task.key)
    else:
        first = min(tasks, key=lambda task: task.creation_date.ToNanoseconds())
        yield from those(start=first.creation_date)
