"""Validation: keys, names, tags, metadata, addresses and functions; violations are OE0101."""

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator import protos as pb
from tests.kit.messages import (
    CHECKSUM,
    DATA_INPUTS,
    MODELS,
    PUBLIC,
    URL,
    address,
    models,
    new_data_manager,
    new_data_sample,
    new_function,
    new_key,
    new_model,
    new_plan,
    new_task,
    profiling_step,
    samples,
    task_failure,
    tasks,
)
from tests.kit.organization import Organization

Registration = Callable[..., Any]


def registrations(org: Organization) -> dict[str, Registration]:
    """What makes a valid request of each kind that has a key, but for the changes."""
    manager = org.register_data_manager()
    function, plan = org.register_function(), org.register_plan()
    wide = org.register_function(outputs={"model": MODELS})
    executing = org.register_task(wide, plan)
    org.start(executing)
    return {
        "plan": new_plan,
        "function": new_function,
        "data manager": new_data_manager,
        "data sample": lambda **changes: samples(new_data_sample(manager, **changes)),
        "task": lambda **changes: tasks(new_task(function, plan, **changes)),
        "model": lambda **changes: models(new_model(executing, **changes)),
    }


NOT_UUIDS = [
    "",
    "key",
    "123",
    f"{new_key()}0",
    f"{new_key()}\n",
    f" {new_key()}",
    new_key()[:-1],
    new_key()[:-1] + "g",
    new_key().replace("-", "_"),
    new_key()[:-1] + "\u0661",
]


def test_keys_are_uuids(org: Organization):
    for registration in registrations(org).values():
        org.send(registration(key=new_key()))
        for key in NOT_UUIDS:
            org.refused(registration(key=key), "OE0101")


@pytest.mark.parametrize("kind", ["plan", "function", "data manager"])
def test_names_have_1_to_100_characters(org: Organization, kind: str):
    registration = registrations(org)[kind]
    for name in ("n", "n" * 100, "é" * 100, "\U0001f9ec" * 100):
        assert org.send(registration(name=name)).name == name
    for name in ("", "n" * 101, "é" * 101):
        org.refused(registration(name=name), "OE0101")


def test_new_names_have_1_to_100_characters(org: Organization):
    plan, manager, function = org.register_plan(), org.register_data_manager(), org.register_function()
    updates = [
        lambda name: pb.UpdateComputePlanParam(key=plan.key, name=name),
        lambda name: pb.UpdateDataManagerParam(key=manager.key, name=name),
        lambda name: pb.UpdateFunctionParam(key=function.key, name=name, image=function.image),
    ]
    for update in updates:
        for name in ("n", "é" * 100):
            org.send(update(name))
        for name in ("", "n" * 101):
            org.refused(update(name), "OE0101")


def test_tags_have_at_most_100_characters(org: Organization):
    for tag in ("", "t" * 100, "é" * 100):
        assert org.send(new_plan(tag=tag)).tag == tag
    org.refused(new_plan(tag="t" * 101), "OE0101")


@pytest.mark.parametrize("kind", ["plan", "function", "data manager", "task"])
def test_metadata_keys_and_values_have_at_most_100_characters(org: Organization, kind: str):
    registration = registrations(org)[kind]
    for metadata in ({}, {"k" * 100: "v" * 100}, {"é" * 100: "\U0001f9ec" * 100}, {"k": ""}):
        answer = org.send(registration(metadata=metadata))
        assert (answer.tasks[0] if kind == "task" else answer).metadata == metadata
    for metadata in ({"k" * 101: "v"}, {"k": "v" * 101}, {"good": "good", "bad": "v" * 101}):
        org.refused(registration(metadata=metadata), "OE0101")


def test_addresses_are_a_checksum_and_a_url(org: Organization):
    task = org.register_task(org.register_function(outputs={"model": MODELS}), org.register_plan())
    org.start(task)
    function = org.register_function()
    places = [
        lambda place: new_function(description=place),
        lambda place: new_function(archive=place),
        lambda place: new_data_manager(description=place),
        lambda place: new_data_manager(opener=place),
        lambda place: models(new_model(task, address=place)),
        lambda place: pb.UpdateFunctionParam(key=function.key, name="name", image=place),
    ]
    for place in places:
        for checksum in (CHECKSUM, "A" * 64, "0" * 64):
            org.send(place(address(checksum=checksum)))
        for url in ("https://example.org/a/b?c=d", "http://localhost:8080/x"):
            org.send(place(address(storage_address=url)))
        for checksum in (
            "",
            "0" * 63,
            "0" * 65,
            "g" * 64,
            f"{CHECKSUM}\n",
            f"0x{CHECKSUM[2:]}",
            "\u0660" * 64,
            "０" * 64,
        ):
            org.refused(place(address(checksum=checksum)), "OE0101")
        for url in ("", "somewhere", "not a url", "/a/path", "https://"):
            org.refused(place(address(storage_address=url)), "OE0101")
        org.refused(place(pb.Addressable()), "OE0101")


def test_the_address_of_logs_is_a_checksum_and_a_url(org: Organization):
    task = org.task_in("STATUS_EXECUTING")
    for place in (address(checksum="0" * 63), address(storage_address="somewhere"), pb.Addressable()):
        org.refused(task_failure(task, logs_address=place), "OE0101")
    org.send(task_failure(task, logs_address=address()))


@pytest.mark.parametrize("missing", ["description", "archive", "new_permissions"])
def test_a_function_has_description_archive_and_permissions(org: Organization, missing: str):
    org.send(new_function())
    org.refused(new_function(**{missing: None}), "OE0101")


def test_identifiers_have_1_to_100_characters(org: Organization):
    for identifier in ("i", "i" * 100, "é" * 100):
        org.send(new_function(inputs={identifier: pb.FunctionInput(kind=pb.ASSET_MODEL)}))
        org.send(new_function(outputs={identifier: pb.FunctionOutput(kind=pb.ASSET_MODEL)}))
    for identifier in ("", "i" * 101):
        org.refused(new_function(inputs={identifier: pb.FunctionInput(kind=pb.ASSET_MODEL)}), "OE0101")
        org.refused(new_function(outputs={identifier: pb.FunctionOutput(kind=pb.ASSET_MODEL)}), "OE0101")


def test_inputs_are_models_data_samples_and_data_managers(org: Organization):
    org.send(new_function(inputs={"model": pb.FunctionInput(kind=pb.ASSET_MODEL)}))
    org.send(new_function(inputs=DATA_INPUTS))
    for kind in {*pb.AssetKind.values(), 99} - {
        pb.ASSET_MODEL,
        pb.ASSET_DATA_SAMPLE,
        pb.ASSET_DATA_MANAGER,
    }:
        org.refused(new_function(inputs={"input": pb.FunctionInput(kind=kind)}), "OE0101")
        org.refused(new_function(inputs={**DATA_INPUTS, "input": pb.FunctionInput(kind=kind)}), "OE0101")


def test_outputs_are_models_and_performances(org: Organization):
    for kind in (pb.ASSET_MODEL, pb.ASSET_PERFORMANCE):
        org.send(new_function(outputs={"output": pb.FunctionOutput(kind=kind)}))
    for kind in {*pb.AssetKind.values(), 99} - {pb.ASSET_MODEL, pb.ASSET_PERFORMANCE}:
        org.refused(new_function(outputs={"output": pb.FunctionOutput(kind=kind)}), "OE0101")


def test_at_most_one_data_manager_never_multiple_or_optional(org: Organization):
    org.send(new_function(inputs=DATA_INPUTS))
    for manager in (
        {"second": pb.FunctionInput(kind=pb.ASSET_DATA_MANAGER)},
        {"opener": pb.FunctionInput(kind=pb.ASSET_DATA_MANAGER, multiple=True)},
        {"opener": pb.FunctionInput(kind=pb.ASSET_DATA_MANAGER, optional=True)},
    ):
        org.refused(new_function(inputs={**DATA_INPUTS, **manager}), "OE0101")


def test_data_manager_and_data_samples_come_together_or_not_at_all(org: Organization):
    org.send(new_function(inputs=DATA_INPUTS))
    org.send(new_function(inputs={}))
    for alone in DATA_INPUTS:
        org.refused(new_function(inputs={alone: DATA_INPUTS[alone]}), "OE0101")


def test_a_performance_is_never_multiple(org: Organization):
    org.send(new_function(outputs={"score": pb.FunctionOutput(kind=pb.ASSET_PERFORMANCE)}))
    org.send(new_function(outputs={"models": pb.FunctionOutput(kind=pb.ASSET_MODEL, multiple=True)}))
    multiple = pb.FunctionOutput(kind=pb.ASSET_PERFORMANCE, multiple=True)
    org.refused(new_function(outputs={"score": multiple}), "OE0101")


@pytest.mark.parametrize("missing", ["description", "opener", "new_permissions", "logs_permission"])
def test_a_data_manager_has_description_opener_and_both_permissions(org: Organization, missing: str):
    org.send(new_data_manager())
    org.refused(new_data_manager(**{missing: None}), "OE0101")


def test_a_data_sample_has_a_checksum_of_64_hex_digits(org: Organization):
    manager = org.register_data_manager()
    org.send(samples(new_data_sample(manager, checksum="aB" * 32)))
    for checksum in ("", "0" * 63, "0" * 65, "g" * 64, f"{CHECKSUM}\n", "０" * 64):
        org.refused(samples(new_data_sample(manager, checksum=checksum)), "OE0101")


def test_a_data_sample_has_managers_of_the_caller(org: Organization, other: Organization):
    mine, theirs = org.register_data_manager(), other.register_data_manager()
    sample = org.register_data_sample(mine)
    assert sample.data_manager_keys == [mine.key]
    for key in NOT_UUIDS:
        org.refused(samples(new_data_sample(mine, key)), "OE0101")
    org.refused(samples(new_data_sample(theirs)), "OE0101")
    org.refused(samples(new_data_sample(mine, theirs)), "OE0101")
    org.refused(samples(new_data_sample(mine, new_key())), "OE0101", "OE0002")


def test_a_profiling_step_has_a_name_and_a_duration(org: Organization, function: pb.Function):
    for step in ("s", "s" * 100, "é" * 100):
        org.send(profiling_step(function, step=step))
    for step in ("", "s" * 101):
        org.refused(profiling_step(function, step=step), "OE0101")
    for duration in (1, 2**32 - 1):
        org.send(profiling_step(function, duration=duration))
    org.refused(profiling_step(function, duration=0), "OE0101")
    org.refused(profiling_step("no key"), "OE0101")


def test_a_failure_report_has_a_known_type_and_a_known_asset_type(org: Organization):
    task = org.task_in("STATUS_EXECUTING")
    for changes in (
        {"error_type": pb.ERROR_TYPE_UNSPECIFIED},
        {"error_type": 99},
        {"asset_type": pb.FAILED_ASSET_UNKNOWN},
        {"asset_type": 99},
    ):
        org.refused(task_failure(task, **changes), "OE0101")
    org.refused(task_failure("no key"), "OE0101")
    assert org.send(task_failure(task)).asset_type == pb.FAILED_ASSET_COMPUTE_TASK


@pytest.mark.parametrize("error_type", [pb.ERROR_TYPE_BUILD, pb.ERROR_TYPE_EXECUTION])
def test_logs_are_required_of_a_build_and_an_execution(org: Organization, error_type: Any):
    task = org.task_in("STATUS_EXECUTING")
    org.refused(task_failure(task, error_type=error_type, logs_address=None), "OE0101")
    report = org.send(task_failure(task, error_type=error_type))
    assert (report.error_type, report.logs_address) == (error_type, address())


def test_logs_are_forbidden_of_an_internal_error(org: Organization):
    task = org.task_in("STATUS_EXECUTING")
    org.refused(task_failure(task, error_type=pb.ERROR_TYPE_INTERNAL), "OE0101")
    report = org.send(task_failure(task, error_type=pb.ERROR_TYPE_INTERNAL, logs_address=None))
    assert not report.HasField("logs_address")


def test_the_address_of_an_organization_is_empty_or_a_url(
    bare: dict[str, Organization],
):
    for address_ in ("somewhere", "not a url", "https://"):
        bare["org-1"].refused(pb.RegisterOrganizationParam(address=address_), "OE0101")
    assert bare["org-1"].send(pb.RegisterOrganizationParam(address="")).address == ""
    assert bare["org-2"].send(pb.RegisterOrganizationParam(address=URL)).address == URL


def test_permissions_that_name_nobody_are_present(org: Organization):
    nobody = pb.NewPermissions()
    assert org.send(new_function(new_permissions=nobody)).permissions.process.authorized_ids == ["org-1"]
    manager = org.send(new_data_manager(new_permissions=nobody, logs_permission=PUBLIC))
    assert not manager.permissions.process.public
