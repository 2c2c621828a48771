"""The client with the Substra SDK's names: its signatures are that SDK's, and both sides' words are each other's."""

import inspect
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import substra
from google.protobuf.timestamp_pb2 import Timestamp
from substra import exceptions, models, schemas

from orchestrator import protos as pb
from orchestrator.client import CallError
from orchestrator.client import Client as Connection
from orchestrator.client.substra import Client, faults, selection, specs
from orchestrator.client.substra import models as ours

METHODS = [name for name, method in vars(substra.Client).items() if callable(method) and not name.startswith("_")]
NOW = datetime(2026, 11, 27, tzinfo=UTC)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_called_as_that_of_the_sdk(name: str) -> None:
    def parameters(of: Any) -> list[tuple[str, Any, Any]]:
        found = inspect.signature(getattr(of, name)).parameters.values()
        return [(each.name, each.kind, each.default) for each in found]

    assert parameters(Client) == parameters(substra.Client)


def test_every_property_of_the_sdk_is_there() -> None:
    properties = {name for name, found in vars(substra.Client).items() if isinstance(found, property)}
    assert properties == {name for name in properties if isinstance(getattr(Client, name), property)}


def test_without_the_package_substra_it_says_what_to_install() -> None:
    script = "import sys; sys.modules['substra'] = None; import orchestrator.client; import orchestrator.client.substra"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "ImportError: orchestrator.client.substra speaks with the types of the package `substra`" in done.stderr


@pytest.mark.parametrize(
    "given", [{"url": "https://backend.example", "token": "secret"}, {}, {"backend_type": "remote"}]
)
def test_who_calls_is_said_by_a_connection_alone(given: dict[str, str]) -> None:
    with pytest.raises(exceptions.ConfigurationInfoError, match="said by a certificate") as caught:
        Client(**given)
    assert all(name in str(caught.value) for name in given)
    assert "secret" not in str(caught.value)


def new_task(key: str, *parents: str) -> schemas.ComputePlanTaskSpec:
    inputs = [
        {"identifier": "models", "parent_task_key": parent, "parent_task_output_identifier": "model"}
        for parent in parents
    ]
    return schemas.ComputePlanTaskSpec(task_id=key, function_key="f", worker="org-1", inputs=inputs)


def test_parents_come_before_children() -> None:
    given = [new_task("c", "b", "a"), new_task("b", "a", "registered before"), new_task("a")]
    assert [task.key for task in specs.tasks("plan", given)] == ["a", "b", "c"]
    assert specs.tasks("plan", None) == []


def test_tasks_that_cannot_be_ordered_are_refused() -> None:
    with pytest.raises(exceptions.InvalidRequest, match="wait for one another"):
        specs.tasks("plan", [new_task("a", "b"), new_task("b", "a")])
    with pytest.raises(exceptions.InvalidRequest, match="two tasks have the key a"):
        specs.tasks("plan", [new_task("a"), new_task("a")])
    with pytest.raises(exceptions.ComputePlanKeyFormatError, match="not 'plan'"):
        specs.check_key("plan")


def test_a_task_is_what_was_specified() -> None:
    spec = schemas.ComputePlanTaskSpec(
        task_id="t",
        function_key="f",
        worker="org-1",
        tag="train",
        metadata={"round_idx": "1"},
        inputs=[{"identifier": "opener", "asset_key": "m"}],
        outputs={"model": {"permissions": {"public": False, "authorized_ids": ["org-2"]}, "transient": True}},
    )
    made = specs.task("p", "t", spec)
    assert made == pb.NewComputeTask(
        key="t",
        function_key="f",
        compute_plan_key="p",
        worker="org-1",
        metadata={"round_idx": "1", "__tag__": "train"},
        inputs=[pb.ComputeTaskInput(identifier="opener", asset_key="m")],
        outputs={
            "model": pb.NewComputeTaskOutput(permissions=pb.NewPermissions(authorized_ids=["org-2"]), transient=True)
        },
    )
    # And back, as it is read.
    found = pb.ComputeTask(key="t", worker="org-1", metadata=made.metadata, inputs=made.inputs, status=pb.STATUS_DONE)
    task = ours.task(found, pb.Function(key="f", status=pb.FUNCTION_STATUS_READY), ours.Span(NOW), None)
    assert (task.tag, task.metadata, task.start_date, task.end_date) == ("train", {"round_idx": "1"}, NOW, None)
    assert task.inputs == [models.InputRef(identifier="opener", asset_key="m")]


@pytest.mark.parametrize(
    ("kind", "words"), [(pb.ComputeTaskStatus, models.ComputeTaskStatus), (pb.FunctionStatus, models.FunctionStatus)]
)
def test_every_status_has_its_word(kind: Any, words: Any) -> None:
    assert set(kind.keys()) == {word.value for word in words}


@pytest.mark.parametrize(
    ("plan", "statuses", "status"),
    [
        ({}, {}, "created"),
        ({}, {pb.STATUS_WAITING_FOR_EXECUTOR_SLOT: 1, pb.STATUS_WAITING_FOR_PARENT_TASKS: 2}, "created"),
        ({}, {pb.STATUS_EXECUTING: 1, pb.STATUS_WAITING_FOR_PARENT_TASKS: 2}, "doing"),
        ({}, {pb.STATUS_DONE: 1, pb.STATUS_WAITING_FOR_PARENT_TASKS: 2}, "doing"),
        ({}, {pb.STATUS_DONE: 3}, "done"),
        ({}, {pb.STATUS_DONE: 1, pb.STATUS_CANCELED: 2}, "canceled"),
        ({}, {pb.STATUS_DONE: 1, pb.STATUS_FAILED: 1, pb.STATUS_CANCELED: 1}, "failed"),
        ({"failure_date": Timestamp()}, {pb.STATUS_FAILED: 1}, "failed"),
        ({"cancelation_date": Timestamp()}, {pb.STATUS_EXECUTING: 1}, "canceled"),
    ],
)
def test_a_plan_has_the_status_that_its_tasks_give_it(plan: dict[str, Any], statuses: Any, status: str) -> None:
    assert ours.plan_status(pb.ComputePlan(**plan), statuses) == models.ComputePlanStatus[status]


def test_the_failed_task_of_a_plan_is_the_first_that_failed() -> None:
    failed = {
        "late": ours.Span(NOW, NOW + timedelta(hours=1)),
        "forgotten": ours.Span(),
        "early": ours.Span(NOW, NOW + timedelta(seconds=90)),
    }
    plan = ours.plan(pb.ComputePlan(key="p"), {pb.STATUS_FAILED: 3}, failed.values(), failed)
    assert (plan.failed_task_key, plan.failed_count, plan.duration) == ("early", 3, 3600)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"key": "a", "type": "is", "value": "Bee"}, True),
        ({"key": "a", "type": "is", "value": "Be"}, False),
        ({"key": "a", "type": "contains", "value": "be"}, True),
        ({"key": "b", "type": "contains", "value": ""}, False),
        ({"key": "a", "type": "exists"}, True),
        ({"key": "b", "type": "exists"}, False),
    ],
)
def test_metadata_are_compared(condition: dict[str, str], holds: bool) -> None:
    filters = selection.check(schemas.Type.Task, {"metadata": [condition]})
    assert selection.matches(pb.ComputeTask(metadata={"a": "Bee"}), filters) == holds


def test_filters_that_were_given_stay_as_they_are() -> None:
    given = {"rank": [1], "status": [models.ComputeTaskStatus.done]}
    assert selection.check(schemas.Type.Task, given) == {"rank": ["1"], "status": ["STATUS_DONE"]}
    assert given == {"rank": [1], "status": [models.ComputeTaskStatus.done]}


def test_what_has_no_date_counts_as_the_latest() -> None:
    def of(*ends: int | None) -> list[Any]:
        made = [NOW + timedelta(hours=end) if end is not None else None for end in ends]
        return [ours.plan(pb.ComputePlan(key="p"), {}, [], {}).model_copy(update={"end_date": end}) for end in made]

    given = of(2, None, 1)
    assert selection.ordered(given, "end_date", True) == [given[2], given[0], given[1]]
    assert selection.ordered(given, "end_date", False) == [given[1], given[0], given[2]]


@pytest.mark.parametrize(
    ("status", "kind", "number"),
    [
        (grpc.StatusCode.NOT_FOUND, exceptions.NotFound, 404),
        (grpc.StatusCode.PERMISSION_DENIED, exceptions.AuthorizationError, 403),
        (grpc.StatusCode.INVALID_ARGUMENT, exceptions.InvalidRequest, 400),
        (grpc.StatusCode.UNAVAILABLE, exceptions.GatewayUnavailable, 503),
        (grpc.StatusCode.DEADLINE_EXCEEDED, exceptions.Timeout, 504),
        (grpc.StatusCode.UNKNOWN, exceptions.HTTPError, None),
    ],
)
def test_a_refused_call_is_the_exception_that_the_sdk_has_for_it(status: Any, kind: Any, number: int | None) -> None:
    found = faults.of_call(CallError(status, "OE0002: task t was not found"))
    assert isinstance(found, kind)
    assert (found.status_code, str(found)) == (number, "OE0002: task t was not found")


def test_users_and_passwords_are_refused_with_what_there_is_instead(tmp_path: Path) -> None:
    with Connection("localhost:1", "org-1", "channel") as connection, Client(connection) as client:
        with pytest.raises(exceptions.UsernamePasswordLoginDisabledException, match="said by a certificate"):
            client.login("user", "password")
        client.logout()
        assert client.backend_mode == substra.BackendType.REMOTE
        assert client.temp_directory is None
        with pytest.raises(ValueError, match="invalid 'path'"):
            client.add_data_samples({"path": tmp_path, "data_manager_keys": ["m"]})
        with pytest.raises(ValueError, match="batch_size"):
            client.add_compute_plan({"name": "plan"}, batch_size=0)
        with pytest.raises(exceptions.InvalidRequest, match="followlinks"):
            client.add_data_sample({"path": tmp_path, "data_manager_keys": ["m"], "followlinks": True})
