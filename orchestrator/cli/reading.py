"""What the commands of a user read from the orchestrator."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
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


def _models(client: Client) -> Iterator[pb.Model]:
    """Yield all models as they were registered; no call lists them, and the events tell of each."""
    wanted = pb.QueryEventsParam(
        filter=pb.EventQueryFilter(asset_kind=pb.ASSET_MODEL, event_kind=pb.EVENT_ASSET_CREATED)
    )
    return (event.model for event in pages(client.events.QueryEvents, wanted, "events"))


def tasks_of(client: Client, plan: str) -> Iterator[pb.ComputeTask]:
    """Yield the tasks of a compute plan."""
    wanted = pb.QueryTasksParam(filter=pb.TaskQueryFilter(compute_plan_key=plan))
    return pages(client.tasks.QueryTasks, wanted, "tasks")


@dataclass(frozen=True)
class Kind:
    """Assets of one kind, which people name by their keys or the beginnings of these.

    Args:
        word: for one of them.
        get: asks for one by its key.
        all: yields all of the channel.
    """

    word: str
    get: Callable[[Client, str], Any]
    all: Callable[[Client], Iterator[Any]]


PLAN = Kind("compute plan", lambda client, key: client.plans.GetPlan(pb.GetComputePlanParam(key=key)), plans)
TASK = Kind(
    "task",
    lambda client, key: client.tasks.GetTask(pb.GetTaskParam(key=key)),
    lambda client: pages(client.tasks.QueryTasks, pb.QueryTasksParam(), "tasks"),
)
FUNCTION = Kind(
    "function",
    lambda client, key: client.functions.GetFunction(pb.GetFunctionParam(key=key)),
    lambda client: pages(client.functions.QueryFunctions, pb.QueryFunctionsParam(), "Functions"),
)
DATASET = Kind(
    "data set",
    lambda client, key: client.data_managers.GetDataManager(pb.GetDataManagerParam(key=key)),
    lambda client: pages(client.data_managers.QueryDataManagers, pb.QueryDataManagersParam(), "data_managers"),
)
MODEL = Kind("model", lambda client, key: client.models.GetModel(pb.GetModelParam(key=key)), _models)


def find(client: Client, key: str, *kinds: Kind) -> Any:
    """Return what a key, or the beginning of one, stands for.

    Args:
        client: who asks.
        key: as a person writes it.
        kinds: what it may be.

    Raises:
        RemoteFault: there is none.
        UsageFault: there are several.
        CallError: there is none with this whole key, or no answer.
    """
    words = " or ".join(kind.word for kind in kinds)
    if len(key) >= _KEY_LENGTH:
        for kind in kinds:
            try:
                return kind.get(client, key)
            except CallError as error:
                if error.oe_code != "OE0002" or kind is kinds[-1]:
                    raise
    found = [asset for kind in kinds for asset in kind.all(client) if asset.key.startswith(key.lower())]
    if not found:
        raise RemoteFault(f"no {words} of channel {client.channel} has a key that begins with {key!r}")
    if len(found) > 1:
        shown = ", ".join(asset.key for asset in found[:3])
        raise UsageFault(f"{len(found)} {words}s have keys that begin with {key!r} ({shown}, …): give more of it")
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
