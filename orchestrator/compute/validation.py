"""The contract's rules for what a client registers; a violation is an InvalidAssetError naming the field."""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from orchestrator import protos as pb
from orchestrator.core.errors import InvalidAssetError
from orchestrator.core.fields import check_checksum, check_key, check_text, check_url, parse_key, parse_keys, shown

_INPUT_KINDS = frozenset({pb.ASSET_MODEL, pb.ASSET_DATA_SAMPLE, pb.ASSET_DATA_MANAGER})
_OUTPUT_KINDS = frozenset({pb.ASSET_MODEL, pb.ASSET_PERFORMANCE})
_DATA_KINDS = frozenset({pb.ASSET_DATA_MANAGER, pb.ASSET_DATA_SAMPLE})
_KEPT = 1024


def check_name(name: str) -> None:
    """Check the name of an asset."""
    check_text(name, "name", least=1)


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Check each key and value."""
    for key, value in metadata.items():
        check_text(key, f"metadata key {shown(key)}")
        check_text(value, f"metadata value of {shown(key)}")


def check_address(message: pb.Addressable, present: bool, field: str) -> None:
    """Check where a file lies.

    Args:
        message: the address.
        present: whether the client gave it at all.
        field: its name.
    """
    if not present:
        raise InvalidAssetError(f"{field}: missing")
    check_checksum(message.checksum, f"{field}.checksum")
    check_url(message.storage_address, f"{field}.storage_address")


def check_organization(new: pb.RegisterOrganizationParam) -> None:
    """Check an organization's address: empty, or a URL."""
    if new.address:
        check_url(new.address, "address")


def check_plan(new: pb.NewComputePlan) -> None:
    """Check a compute plan."""
    parse_key(new.key)
    check_text(new.tag, "tag")
    check_name(new.name)
    check_metadata(new.metadata)


def check_function(new: pb.NewFunction) -> None:
    """Check a function and the inputs and outputs that it declares."""
    parse_key(new.key)
    check_name(new.name)
    check_address(new.description, new.HasField("description"), "description")
    check_address(new.archive, new.HasField("archive"), "archive")
    if not new.HasField("new_permissions"):
        raise InvalidAssetError("new_permissions: missing")
    check_metadata(new.metadata)
    for identifier, given in new.inputs.items():
        field = f"input {shown(identifier)}"
        check_text(identifier, field, least=1)
        if given.kind not in _INPUT_KINDS:
            raise InvalidAssetError(f"{field}: its kind must be MODEL, DATA_SAMPLE or DATA_MANAGER")
        if given.kind == pb.ASSET_DATA_MANAGER and (given.multiple or given.optional):
            raise InvalidAssetError(f"{field}: a DATA_MANAGER cannot be multiple or optional")
    kinds = [given.kind for given in new.inputs.values()]
    if kinds.count(pb.ASSET_DATA_MANAGER) > 1:
        raise InvalidAssetError("inputs: at most one DATA_MANAGER")
    if len(_DATA_KINDS & set(kinds)) == 1:
        raise InvalidAssetError("inputs: DATA_MANAGER and DATA_SAMPLE come together or not at all")
    for identifier, declared in new.outputs.items():
        field = f"output {shown(identifier)}"
        check_text(identifier, field, least=1)
        if declared.kind not in _OUTPUT_KINDS:
            raise InvalidAssetError(f"{field}: its kind must be MODEL or PERFORMANCE")
        if declared.kind == pb.ASSET_PERFORMANCE and declared.multiple:
            raise InvalidAssetError(f"{field}: a PERFORMANCE cannot be multiple")


def check_image(image: pb.Addressable) -> None:
    """Check a function's image: empty, or a whole address."""
    if image.checksum or image.storage_address:
        check_address(image, True, "image")


def check_data_manager(new: pb.NewDataManager) -> None:
    """Check a data manager."""
    parse_key(new.key)
    check_name(new.name)
    check_address(new.description, new.HasField("description"), "description")
    check_address(new.opener, new.HasField("opener"), "opener")
    for field in ("new_permissions", "logs_permission"):
        if not new.HasField(field):
            raise InvalidAssetError(f"{field}: missing")
    check_metadata(new.metadata)


def check_data_sample(new: pb.NewDataSample) -> None:
    """Check a data sample."""
    parse_key(new.key)
    check_checksum(new.checksum, "checksum")
    parse_keys(new.data_manager_keys, "data_manager_keys")


def check_task(new: pb.NewComputeTask) -> None:
    """Check what a task says by itself, and spell its keys as they are stored.

    `compute.registration` checks what it refers to.
    """
    key, function, plan = new.key, new.function_key, new.compute_plan_key
    check_key(key)
    _check_common_key(function, "function_key")
    _check_common_key(plan, "compute_plan_key")
    # Most are spelled so already, and a look is cheap.
    if (lower := key.lower()) != key:
        new.key = lower
    if (lower := function.lower()) != function:
        new.function_key = lower
    if (lower := plan.lower()) != plan:
        new.compute_plan_key = lower
    if new.metadata:
        check_metadata(new.metadata)
    for given in new.inputs:
        fields = _check_input(given.identifier)
        if given.HasField("parent_task_output"):
            ref = given.parent_task_output
            check_key(parent := ref.parent_task_key, fields.parent)
            if (lower := parent.lower()) != parent:
                ref.parent_task_key = lower
        elif given.HasField("asset_key"):
            check_key(asset := given.asset_key, fields.asset)
            if (lower := asset.lower()) != asset:
                given.asset_key = lower
        else:
            raise InvalidAssetError(f"{fields.input}: neither an asset nor an output of a parent is given")
    outputs = new.outputs
    for identifier in outputs:
        if not outputs[identifier].HasField("permissions"):
            raise InvalidAssetError(f"output {shown(identifier)}: permissions are missing")


class _InputFields(NamedTuple):
    """What the fields of an input are called for people."""

    input: str
    asset: str
    parent: str


# Many tasks have the same few of these.
_check_common_key = lru_cache(_KEPT)(check_key)


@lru_cache(_KEPT)
def _check_input(identifier: str) -> _InputFields:
    field = f"input {shown(identifier)}"
    check_text(identifier, field, least=1)
    return _InputFields(field, f"{field}: asset_key", f"{field}: parent_task_key")


def check_model(new: pb.NewModel) -> None:
    """Check a model."""
    parse_key(new.key)
    parse_key(new.compute_task_key, "compute_task_key")
    check_address(new.address, new.HasField("address"), "address")


def check_performance(new: pb.NewPerformance) -> None:
    """Check a performance."""
    parse_key(new.compute_task_key, "compute_task_key")


def check_failure_report(new: pb.NewFailureReport) -> None:
    """Check a failure report."""
    parse_key(new.asset_key, "asset_key")
    if new.asset_type not in (pb.FAILED_ASSET_COMPUTE_TASK, pb.FAILED_ASSET_FUNCTION):
        raise InvalidAssetError("asset_type: a function or a compute task is expected")
    if new.error_type in (pb.ERROR_TYPE_BUILD, pb.ERROR_TYPE_EXECUTION):
        check_address(new.logs_address, new.HasField("logs_address"), "logs_address")
    elif new.error_type != pb.ERROR_TYPE_INTERNAL:
        raise InvalidAssetError("error_type: BUILD, EXECUTION or INTERNAL is expected")
    elif new.HasField("logs_address"):
        raise InvalidAssetError("logs_address: an INTERNAL error has none")


def check_profiling_step(step: pb.ProfilingStep) -> None:
    """Check a profiling step; its duration is in microseconds."""
    parse_key(step.asset_key, "asset_key")
    check_text(step.step, "step", least=1)
    if not step.duration:
        raise InvalidAssetError("duration: must be greater than 0")
