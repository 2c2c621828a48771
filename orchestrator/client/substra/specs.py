"""What a Substra SDK's user specifies, as messages of ours."""

import uuid
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from substra import exceptions, schemas

from orchestrator import protos as pb

TAG = "__tag__"
"""Where backends of Substra keep a task's tag: among its metadata, where no key of a user may have `__`."""


def read(kind: type[Any], given: Any) -> Any:
    """Return a specification that is given itself, or as a dictionary.

    Raises:
        pydantic.ValidationError: the dictionary is none of this kind.
    """
    return given if isinstance(given, kind) else kind(**given)


def check_key(key: str) -> None:
    """Check that a compute plan's key is a UUID.

    Raises:
        ComputePlanKeyFormatError: it is none.
    """
    try:
        uuid.UUID(key)
    except ValueError as error:
        raise exceptions.ComputePlanKeyFormatError(
            f"the key of a compute plan is a UUID, as str(uuid.uuid4()) makes them, not {key!r}"
        ) from error


def permissions(given: Any) -> pb.NewPermissions:
    """Return who may use an asset."""
    return pb.NewPermissions(public=given.public, authorized_ids=given.authorized_ids)


def inputs(declared: Iterable[Any] | None) -> dict[str, pb.FunctionInput]:
    """Return what a function takes."""
    return {
        each.identifier: pb.FunctionInput(kind=_kind(each), multiple=each.multiple, optional=each.optional)
        for each in declared or ()
    }


def outputs(declared: Iterable[Any] | None) -> dict[str, pb.FunctionOutput]:
    """Return what a function makes."""
    return {each.identifier: pb.FunctionOutput(kind=_kind(each), multiple=each.multiple) for each in declared or ()}


def _kind(declared: Any) -> "pb.AssetKind.ValueType":
    return pb.AssetKind.Value(schemas.AssetKind(declared.kind).value)


def tasks(plan: str, specified: Iterable[Any] | None) -> list[pb.NewComputeTask]:
    """Return tasks of a compute plan, parents before children.

    Args:
        plan: its key.
        specified: its tasks, each a `ComputePlanTaskSpec`; they may hang on tasks that are registered already.

    Raises:
        InvalidRequest: two have one key, or each of several waits for another.
    """
    known: dict[str, pb.NewComputeTask] = {}
    for each in specified or ():
        if each.task_id in known:
            raise exceptions.InvalidRequest(f"two tasks have the key {each.task_id}: each task has one of its own", 400)
        known[each.task_id] = task(plan, each.task_id, each)
    parents = {key: [_parent(given) for given in message.inputs] for key, message in known.items()}
    try:
        order = list(TopologicalSorter(parents).static_order())
    except CycleError as error:
        raise exceptions.InvalidRequest(
            f"the tasks {', '.join(error.args[1])} wait for one another: no task can be its own ancestor", 400
        ) from error
    return [known[key] for key in order if key in known]


def _parent(given: pb.ComputeTaskInput) -> str:
    return given.parent_task_output.parent_task_key


def task(plan: str, key: str, spec: Any) -> pb.NewComputeTask:
    """Return a task.

    Args:
        plan: the key of its compute plan.
        key: the task's own.
        spec: a `ComputePlanTaskSpec` or a `TaskSpec`.
    """
    return pb.NewComputeTask(
        key=key,
        function_key=spec.function_key,
        compute_plan_key=plan,
        worker=spec.worker,
        metadata=_tagged(spec.metadata, spec.tag),
        inputs=[_input(given) for given in spec.inputs or ()],
        outputs={
            identifier: pb.NewComputeTaskOutput(
                permissions=permissions(given.permissions), transient=given.is_transient
            )
            for identifier, given in (spec.outputs or {}).items()
        },
    )


def _tagged(metadata: Mapping[str, str] | None, tag: str | None) -> dict[str, str]:
    return {**(metadata or {}), **({TAG: tag} if tag else {})}


def _input(given: Any) -> pb.ComputeTaskInput:
    if given.asset_key:
        return pb.ComputeTaskInput(identifier=given.identifier, asset_key=given.asset_key)
    reference = pb.ParentTaskOutputRef(
        parent_task_key=given.parent_task_key, output_identifier=given.parent_task_output_identifier
    )
    return pb.ComputeTaskInput(identifier=given.identifier, parent_task_output=reference)
