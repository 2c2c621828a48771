"""What the commands of a user read from the orchestrator."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from orchestrator import protos as pb
from orchestrator.cli.errors import RemoteFault, UsageFault
from orchestrator.client import CallError, Client, keys, lists
from orchestrator.client.progress import in_words

KEY_LENGTH = 36


def counts_of(client: Client, plans: Sequence[str]) -> dict[str, Mapping[str, int]]:
    """Return how many tasks of compute plans are in each state, in people's words, by the key of the plan."""
    counts = {key: in_words({}) for key in plans}
    for begin in range(0, len(plans), lists.PAGE):
        for plan in client.inspection.CountTasks(
            pb.CountTasksParam(compute_plan_keys=plans[begin : begin + lists.PAGE])
        ).counts:
            counts[plan.compute_plan_key] = in_words({each.status: each.count for each in plan.tasks})
    return counts


def tasks_of(client: Client, plan: str) -> Iterator[pb.ComputeTask]:
    """Yield the tasks of a compute plan."""
    return lists.tasks(client, pb.TaskQueryFilter(compute_plan_key=plan))


@dataclass(frozen=True)
class Kind:
    """Assets of one kind, which people name by their keys or the beginnings of these.

    Args:
        number: of the kind in the contract.
        get: asks for one by its key.
    """

    number: "pb.AssetKind.ValueType"
    get: Callable[[Client, str], Any]


PLAN = Kind(pb.ASSET_COMPUTE_PLAN, lambda client, key: client.plans.GetPlan(pb.GetComputePlanParam(key=key)))
TASK = Kind(pb.ASSET_COMPUTE_TASK, lambda client, key: client.tasks.GetTask(pb.GetTaskParam(key=key)))
FUNCTION = Kind(pb.ASSET_FUNCTION, lambda client, key: client.functions.GetFunction(pb.GetFunctionParam(key=key)))
DATASET = Kind(
    pb.ASSET_DATA_MANAGER, lambda client, key: client.data_managers.GetDataManager(pb.GetDataManagerParam(key=key))
)
MODEL = Kind(pb.ASSET_MODEL, lambda client, key: client.models.GetModel(pb.GetModelParam(key=key)))


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
    if len(key) >= KEY_LENGTH:
        for kind in kinds:
            try:
                return kind.get(client, key)
            except CallError as error:
                if error.oe_code != "OE0002" or kind is kinds[-1]:
                    raise
    asked = pb.FindKeysParam(beginning=key, kinds=[kind.number for kind in kinds])
    try:
        found = keys.meant(client.inspection.FindKeys(asked), asked, f"channel {client.channel}")
    except keys.UnknownKeyError as error:
        raise RemoteFault(str(error)) from error
    except keys.AmbiguousKeyError as error:
        raise UsageFault(str(error)) from error
    of_number = {kind.number: kind for kind in kinds}
    return of_number[found.kind].get(client, found.key)


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
