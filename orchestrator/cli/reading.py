"""What the commands of a user read from the orchestrator."""

from collections.abc import Callable, Iterator
from typing import Any

import click

from orchestrator import protos as pb
from orchestrator.cli.errors import RemoteFault, UsageFault
from orchestrator.client import CallError, Client

_PAGE = 1000
_KEY_LENGTH = 36


def pages(query: Callable[[Any], Any], request: Any, field: str) -> Iterator[Any]:
    """Yield all rows of a list.

    Args:
        query: the call.
        request: its request; becomes that of page after page.
        field: what the response calls its rows.
    """
    request.page_size = _PAGE
    while True:
        response = query(request)
        yield from getattr(response, field)
        if not response.next_page_token:
            return
        request.page_token = response.next_page_token


def plans(client: Client) -> Iterator[pb.ComputePlan]:
    """Yield all compute plans, the oldest first."""
    return pages(client.plans.QueryPlans, pb.QueryPlansParam(), "plans")


def tasks_of(client: Client, plan: str) -> Iterator[pb.ComputeTask]:
    """Yield the tasks of a compute plan."""
    wanted = pb.QueryTasksParam(filter=pb.TaskQueryFilter(compute_plan_key=plan))
    return pages(client.tasks.QueryTasks, wanted, "tasks")


def find_plan(client: Client, key: str) -> pb.ComputePlan:
    """Return the compute plan of a key, or of the beginning of one.

    Raises:
        RemoteFault: there is none.
        UsageFault: there are several.
    """
    if len(key) >= _KEY_LENGTH:
        return client.plans.GetPlan(pb.GetComputePlanParam(key=key))
    found = [plan for plan in plans(client) if plan.key.startswith(key.lower())]
    if not found:
        raise RemoteFault(f"no compute plan of channel {client.channel} has a key that begins with {key!r}")
    if len(found) > 1:
        shown = ", ".join(plan.key for plan in found[:3])
        raise UsageFault(f"{len(found)} compute plans have keys that begin with {key!r} ({shown}, …): give more of it")
    return found[0]


def failure_of(client: Client, task: pb.ComputeTask) -> pb.FailureReport | None:
    """Return why a task failed, or why its function did; None where it did not, or nobody reported it."""
    if task.status != pb.STATUS_FAILED:
        return None
    for key in (task.key, task.function_key):
        try:
            return client.failure_reports.GetFailureReport(pb.GetFailureReportParam(asset_key=key))
        except CallError as error:
            if error.oe_code != "OE0002":
                raise
    return None


def error_type(report: pb.FailureReport | None) -> str:
    """Return the kind of fault in one word: BUILD, EXECUTION, INTERNAL; empty where there is no report."""
    return pb.ErrorType.Name(report.error_type).removeprefix("ERROR_TYPE_") if report else ""


def document(message: Any) -> dict[str, Any]:
    """Return a message as JSON has it: fields by their names, enums by name, times in ISO 8601."""
    from google.protobuf.json_format import MessageToDict

    converted: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return converted


def print_json(value: Any) -> None:
    """Print one JSON document."""
    import json

    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
