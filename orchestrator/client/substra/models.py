"""What the orchestrator answers, as models of the Substra SDK."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from substra import models

from orchestrator import protos as pb
from orchestrator.client.substra.specs import TAG

_ERRORS = {
    pb.ERROR_TYPE_BUILD: models.TaskErrorType.build,
    pb.ERROR_TYPE_EXECUTION: models.TaskErrorType.execution,
    pb.ERROR_TYPE_INTERNAL: models.TaskErrorType.internal,
}
_COUNTS = {
    pb.STATUS_WAITING_FOR_BUILDER_SLOT: "waiting_builder_slot_count",
    pb.STATUS_BUILDING: "building_count",
    pb.STATUS_WAITING_FOR_PARENT_TASKS: "waiting_parent_tasks_count",
    pb.STATUS_WAITING_FOR_EXECUTOR_SLOT: "waiting_executor_slot_count",
    pb.STATUS_EXECUTING: "executing_count",
    pb.STATUS_CANCELED: "canceled_count",
    pb.STATUS_FAILED: "failed_count",
    pb.STATUS_DONE: "done_count",
}


_ENDED = (models.ComputePlanStatus.done, models.ComputePlanStatus.failed, models.ComputePlanStatus.canceled)
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Span:
    """When something began and ended.

    Args:
        start: None before it has begun.
        end: None before it has ended.
    """

    start: datetime | None = None
    end: datetime | None = None


def moment(timestamp: Timestamp) -> datetime:
    """Return a time, in UTC."""
    return timestamp.ToDatetime(tzinfo=UTC)


def organization(found: pb.Organization, caller: str) -> Any:
    """Return an organization.

    Args:
        found: the organization.
        caller: the id of the one that asks.
    """
    return models.Organization(id=found.id, is_current=found.id == caller, creation_date=moment(found.creation_date))


def function(found: pb.Function) -> Any:
    """Return a function."""
    return models.Function(
        key=found.key,
        name=found.name,
        owner=found.owner,
        permissions=_permissions(found.permissions),
        metadata=dict(found.metadata),
        creation_date=moment(found.creation_date),
        inputs=[
            models.FunctionInput(
                identifier=identifier,
                kind=pb.AssetKind.Name(given.kind),
                multiple=given.multiple,
                optional=given.optional,
            )
            for identifier, given in sorted(found.inputs.items())
        ],
        outputs=[
            models.FunctionOutput(identifier=identifier, kind=pb.AssetKind.Name(made.kind), multiple=made.multiple)
            for identifier, made in sorted(found.outputs.items())
        ],
        status=pb.FunctionStatus.Name(found.status),
        description=_file(found.description),
        archive=_file(found.archive),
    )


def dataset(found: pb.DataManager, samples: Iterable[str] = ()) -> Any:
    """Return a data set.

    Args:
        found: its data manager.
        samples: the keys of its data samples.
    """
    return models.Dataset(
        key=found.key,
        name=found.name,
        owner=found.owner,
        permissions=_permissions(found.permissions),
        data_sample_keys=list(samples),
        opener=_file(found.opener),
        description=_file(found.description),
        metadata=dict(found.metadata),
        creation_date=moment(found.creation_date),
        logs_permission=_permission(found.logs_permission),
    )


def data_sample(found: pb.DataSample) -> Any:
    """Return a data sample; it has no path, as it lies in its owner's asset store, where nobody reads it."""
    return models.DataSample(
        key=found.key,
        owner=found.owner,
        data_manager_keys=list(found.data_manager_keys),
        creation_date=moment(found.creation_date),
    )


def model(found: pb.Model) -> Any:
    """Return a model; it has no address once it was deleted."""
    return models.OutModel(
        key=found.key,
        compute_task_key=found.compute_task_key,
        address=_file(found.address) if found.HasField("address") else None,
        permissions=_permissions(found.permissions),
        owner=found.owner,
        creation_date=moment(found.creation_date),
    )


def task(found: pb.ComputeTask, runs: pb.Function, span: Span, failure: pb.FailureReport | None) -> Any:
    """Return a task.

    Args:
        found: the task.
        runs: its function.
        span: when it ran.
        failure: why it failed.
    """
    metadata = dict(found.metadata)
    tag = metadata.pop(TAG, "")
    return models.Task(
        key=found.key,
        function=function(runs),
        owner=found.owner,
        compute_plan_key=found.compute_plan_key,
        metadata=metadata,
        status=pb.ComputeTaskStatus.Name(found.status),
        worker=found.worker,
        rank=found.rank,
        tag=tag,
        creation_date=moment(found.creation_date),
        start_date=span.start,
        end_date=span.end,
        error_type=_ERRORS.get(failure.error_type) if failure else None,
        inputs=[_input(given) for given in found.inputs],
        outputs={
            identifier: models.ComputeTaskOutput(
                permissions=_permissions(output.permissions), is_transient=output.transient
            )
            for identifier, output in found.outputs.items()
        },
    )


def plan(
    found: pb.ComputePlan,
    statuses: "Mapping[pb.ComputeTaskStatus.ValueType, int]",
    spans: Collection[Span],
    failed: Mapping[str, Span],
) -> Any:
    """Return a compute plan.

    Args:
        found: the plan.
        statuses: how many of its tasks have each status.
        spans: when its tasks ran.
        failed: when those ran that failed, by their keys.
    """
    status = plan_status(found, statuses)
    start = min((span.start for span in spans if span.start), default=None)
    end = max((span.end for span in spans if span.end), default=None) if status in _ENDED else None
    return models.ComputePlan(
        key=found.key,
        tag=found.tag,
        name=found.name,
        owner=found.owner,
        metadata=dict(found.metadata),
        task_count=sum(statuses.values()),
        **{name: statuses.get(number, 0) for number, name in _COUNTS.items()},
        failed_task_key=min(failed, key=lambda key: failed[key].end or _NEVER, default=None),
        status=status,
        creation_date=moment(found.creation_date),
        start_date=start,
        end_date=end,
        duration=int((end - start).total_seconds()) if start and end else None,
        creator=found.owner,
    )


def plan_status(found: pb.ComputePlan, statuses: "Mapping[pb.ComputeTaskStatus.ValueType, int]") -> Any:
    """Return the status of a compute plan.

    Args:
        found: the plan.
        statuses: how many of its tasks have each status.
    """
    if found.HasField("cancelation_date"):
        return models.ComputePlanStatus.canceled
    if found.HasField("failure_date") or statuses.get(pb.STATUS_FAILED):
        return models.ComputePlanStatus.failed
    if statuses.get(pb.STATUS_CANCELED):
        return models.ComputePlanStatus.canceled
    begun = sum(statuses.get(status, 0) for status in (pb.STATUS_EXECUTING, pb.STATUS_DONE))
    if not begun:
        return models.ComputePlanStatus.created
    done = statuses.get(pb.STATUS_DONE, 0) == sum(statuses.values())
    return models.ComputePlanStatus.done if done else models.ComputePlanStatus.doing


def _permissions(found: pb.Permissions) -> Any:
    return models.Permissions(process=_permission(found.process))


def _permission(found: pb.Permission) -> Any:
    return models.Permission(public=found.public, authorized_ids=list(found.authorized_ids))


def _file(found: pb.Addressable) -> dict[str, str]:
    return {"checksum": found.checksum, "storage_address": found.storage_address}


def _input(given: pb.ComputeTaskInput) -> Any:
    if given.WhichOneof("ref") == "asset_key":
        return models.InputRef(identifier=given.identifier, asset_key=given.asset_key)
    return models.InputRef(
        identifier=given.identifier,
        parent_task_key=given.parent_task_output.parent_task_key,
        parent_task_output_identifier=given.parent_task_output.output_identifier,
    )
