"""The lists of the orchestrator, read page after page."""

from collections.abc import Callable, Iterator
from typing import Any

from orchestrator import protos as pb
from orchestrator.client.services import Services

PAGE = 1000
"""How many rows are asked for at once."""


def pages(query: Callable[[Any], Any], request: Any, field: str) -> Iterator[Any]:
    """Yield all rows of a list.

    Args:
        query: the call.
        request: its request; becomes that of page after page.
        field: what the answer calls its rows.
    """
    request.page_size = PAGE
    while True:
        answer = query(request)
        yield from getattr(answer, field)
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token


def plans(client: Services) -> Iterator[pb.ComputePlan]:
    """Yield the compute plans of the channel, the oldest first."""
    return pages(client.plans.QueryPlans, pb.QueryPlansParam(), "plans")


def functions(client: Services, plan: str = "") -> Iterator[pb.Function]:
    """Yield the functions of the channel, or those that a compute plan uses, the oldest first."""
    wanted = pb.FunctionQueryFilter(compute_plan_key=plan)
    return pages(client.functions.QueryFunctions, pb.QueryFunctionsParam(filter=wanted), "Functions")


def datasets(client: Services) -> Iterator[pb.DataManager]:
    """Yield the data sets of the channel, the oldest first."""
    return pages(client.data_managers.QueryDataManagers, pb.QueryDataManagersParam(), "data_managers")


def tasks(client: Services, wanted: pb.TaskQueryFilter) -> Iterator[pb.ComputeTask]:
    """Yield the tasks that a filter lets through, the oldest first."""
    return pages(client.tasks.QueryTasks, pb.QueryTasksParam(filter=wanted), "tasks")
