"""The client with the Substra SDK's names, against a real server and asset store."""

import re
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from substra import exceptions, models, schemas

from orchestrator.client.substra import Client
from orchestrator.embedded.certificates import Layout
from tests.kit.home import Home, done
from tests.kit.study import INPUTS, MINE, Study

PAGE = Path(__file__).parents[3] / "docs" / "substra.md"


def refuses(kind: Any, call: Callable[..., Any], *given: Any, match: str | None = None, **named: Any) -> Any:
    with pytest.raises(kind, match=match) as caught:
        call(*given, **named)
    return caught.value


def test_one_line_differs(home: Home, certificates: Layout, served_address: str) -> None:
    """The Python of the page about it."""
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    given = {"address": served_address, "organization": "org-2", "channel": home.client.channel}
    names: dict[str, Any] = {**given, "certificates": certificates.client("org-2")}
    exec(compile(block, PAGE.name, "exec"), names)
    with names["client"].connection:
        assert names["client"].organization_info().organization_id == "org-2"


def test_what_was_added_is_read_as_it_was_specified(study: Study, tmp_path: Path) -> None:
    client = study.client
    function = client.get_function(study.function)
    assert (function.name, function.owner, function.status) == ("train", "org-1", models.FunctionStatus.ready)
    declared = [given.model_dump() for given in sorted(INPUTS, key=lambda given: given.identifier)]
    assert [given.model_dump() for given in function.inputs] == declared
    assert sorted(function.permissions.process.authorized_ids) == ["org-1", "org-2"]
    dataset = client.get_dataset(study.dataset)
    assert (dataset.name, dataset.metadata) == ("patients", {"kind": "test"})
    assert set(dataset.data_sample_keys) == set(study.samples)
    assert dataset.logs_permission.authorized_ids == ["org-1"]
    assert client.get_data_sample(study.samples[0]).data_manager_keys == [study.dataset]
    # The archive stays as it was packed.
    assert client.download_function(study.function, tmp_path).read_bytes() == study.archive.read_bytes()
    assert client.download_dataset(study.dataset, str(tmp_path)).read_text() == "class Opener: ...\n"
    assert client.describe_function(study.function) == client.describe_dataset(study.dataset) == "# About\n"


def test_a_compute_plan_is_followed_to_its_end(study: Study, tmp_path: Path) -> None:
    client, home = study.client, study.home
    plan, keys = study.plan(2, auto_batching=True, batch_size=1)
    assert (plan.status, plan.task_count, plan.waiting_parent_tasks_count) == (models.ComputePlanStatus.created, 2, 1)
    refuses(exceptions.FutureTimeoutError, client.wait_compute_plan, plan.key, timeout=0.1, polling_period=0.1)
    refuses(exceptions.TaskAssetNotFoundError, client.get_task_output_asset, keys[0], "model")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.get_performances, plan.key, wait_completion=True)
        made = [done(home, key, key.encode()) for key in keys]
        measured = waiting.result(30)
    assert (measured.round_idx, measured.task_rank, measured.performance) == ([0, 1], [0, 1], [0.5, 0.5])
    assert (measured.task_key, set(measured.identifier)) == (keys, {"auc"})
    plan = client.get_compute_plan(plan.key)
    assert (plan.status, plan.done_count, plan.tag, plan.metadata) == ("PLAN_STATUS_DONE", 2, "a tag", {"of": "2026"})
    first, second = (client.get_task(key) for key in keys)
    assert (first.tag, first.metadata, first.rank, second.rank) == ("train", {"round_idx": "0"}, 0, 1)
    assert plan.start_date == first.start_date <= first.end_date <= second.start_date <= second.end_date
    assert plan.end_date == second.end_date
    outputs = client.list_task_output_assets(keys[1], wait_completion=True)
    assert {output.identifier: output.kind for output in outputs} == {
        "model": "ASSET_MODEL",
        "auc": "ASSET_PERFORMANCE",
    }
    assert client.get_task_output_asset(keys[1], "auc").asset == 0.5
    inputs = client.list_task_input_assets(keys[1])
    assert [given.asset.key for given in inputs] == [study.dataset, *study.samples, made[0]]
    assert client.download_model_from_task(keys[1], "model", tmp_path) == tmp_path / f"model_{made[1]}"
    assert (tmp_path / f"model_{made[1]}").read_bytes() == keys[1].encode()
    # More tasks may follow, until it has ended for good.
    third = study.task(2, keys[1])
    grown = client.add_compute_plan_tasks(plan.key, {"tasks": [third]})
    assert (grown.status, grown.task_count) == ("PLAN_STATUS_DOING", 3)
    client.cancel_compute_plan(plan.key)
    assert client.wait_compute_plan(plan.key, raise_on_failure=False).status == "PLAN_STATUS_CANCELED"
    refuses(exceptions.FutureFailureError, client.wait_task, third.task_id, match="was cancelled")
    refuses(exceptions.InvalidRequest, client.cancel_compute_plan, plan.key, match="OE0109")


def test_a_failure_is_told_with_its_log(study: Study, tmp_path: Path) -> None:
    client = study.client
    plan, (key, child) = study.plan(2, auto_batching=False)
    refuses(exceptions.NotFound, client.get_logs, key, match="has no log")
    study.fail(key, "no such column\n")
    assert client.get_logs(key) == "no such column\n"
    written = tmp_path / f"task_logs_{key}.txt"
    assert (client.download_logs(key, str(tmp_path)), written.read_text()) == (str(written), "no such column\n")
    # What does not fail has one too, if it says something.
    (study.home.store.root / "task_logs" / child).mkdir(parents=True)
    (study.home.store.root / "task_logs" / child / "1").write_text("epoch 1\n")
    assert client.get_logs(child) == "epoch 1\n"
    refuses(exceptions.AuthorizationError, Client(study.home.other).get_logs, child, match="may not read")
    task = client.wait_task(key, raise_on_failure=False)
    assert (task.status, task.error_type) == ("STATUS_FAILED", models.TaskErrorType.execution)
    refuses(exceptions.FutureFailureError, client.wait_compute_plan, plan.key, match=rf"get_logs\('{key}'\)")
    failed = client.get_compute_plan(plan.key)
    assert (failed.status, failed.failed_count, failed.failed_task_key) == ("PLAN_STATUS_FAILED", 1, key)
    assert [found.key for found in client.list_compute_plan({"status": [models.ComputePlanStatus.failed]})] == [
        plan.key
    ]
    assert client.get_task(child).end_date is None


def test_lists_are_filtered_as_the_sdk_says(study: Study) -> None:
    client = study.client
    plan, keys = study.plan(3)
    other = study.add_function(name="another one")

    def tasks(order_by: str = "creation_date", ascending: bool = False, **filters: Any) -> set[str]:
        return {task.key for task in client.list_task({"compute_plan_key": [plan.key], **filters}, order_by, ascending)}

    assert tasks() == tasks(worker=["org-1"], function_key=[study.function], owner=["org-1"]) == set(keys)
    assert tasks(rank=[0, 2]) == {keys[0], keys[2]}
    assert tasks(status=[models.ComputeTaskStatus.waiting_for_executor_slot]) == {keys[0]}
    assert tasks(metadata=[{"key": "round_idx", "type": "is", "value": "1"}]) == {keys[1]}
    assert tasks(worker=["org-2"]) == tasks(metadata=[{"key": "round", "type": "exists"}]) == set()
    done(study.home, keys[0], b"model")
    done(study.home, keys[1], b"model")
    found = client.list_task({"compute_plan_key": [plan.key], "rank": [0, 1]}, order_by="end_date")
    assert [task.key for task in found] == [keys[1], keys[0]]
    assert {task.key for task in client.list_task({"key": [keys[2], str(uuid.uuid4())]})} == {keys[2]}
    assert tasks(key=[keys[2]]) == {keys[2]}
    assert tasks(key=[keys[2]], worker=["org-2"]) == set()

    def functions(**filters: Any) -> set[str]:
        return {function.key for function in client.list_function(filters)}

    assert {study.function, other} <= functions()
    assert functions(name="ANOTHER") == {other}
    for used in ({"compute_plan_key": [plan.key]}, {"dataset_key": [study.dataset]}):
        assert functions(**used) == {study.function}
    assert functions(permissions=["org-2"]) >= {study.function, other}
    assert functions(permissions=["org-3"]) == set()
    assert [each.key for each in client.list_dataset({"data_sample_key": [study.samples[0]]})] == [study.dataset]
    assert [each.key for each in client.list_dataset({"compute_plan_key": [plan.key]})] == [study.dataset]
    samples = client.list_data_sample({"dataset_key": [study.dataset]}, ascending=True)
    assert {sample.key for sample in samples} == set(study.samples)
    assert plan.key in {each.key for each in client.list_compute_plan({"worker": ["org-1"], "name": "STUDY"})}
    assert client.list_compute_plan({"function_key": [other]}) == []
    assert [each.compute_task_key for each in client.list_model({"compute_task_key": [keys[0]]})] == [keys[0]]
    assert {each.compute_task_key for each in client.list_model({"owner": ["org-1"]})} >= {keys[0], keys[1]}
    assert client.list_model({"permissions": ["org-2"]}) == []
    assert [(each.id, each.is_current) for each in client.list_organization()] == [("org-1", True), ("org-2", False)]


def test_of_many_tasks_too_the_times_are_known(study: Study) -> None:
    client = study.client
    plan, keys = study.plan(12)
    done(study.home, keys[0], b"model")
    client.cancel_compute_plan(plan.key)
    found = {task.key: task for task in client.list_task({"compute_plan_key": [plan.key]})}
    assert found.keys() == set(keys)
    for task in (*found.values(), client.get_task(keys[0])):
        # One of twelve has begun, and all have ended.
        assert bool(task.start_date) == (task.key == keys[0])
        assert task.end_date >= task.creation_date
    assert found[keys[0]] == client.get_task(keys[0])
    assert found[keys[11]] == client.get_task(keys[11])
    (listed,) = client.list_compute_plan({"key": [plan.key]})
    assert (listed.done_count, listed.canceled_count, listed.status) == (1, 11, "PLAN_STATUS_CANCELED")
    assert listed == client.get_compute_plan(plan.key)


def test_what_is_wrong_is_said_as_the_sdk_says_it(study: Study, tmp_path: Path) -> None:
    client = study.client
    nobody = str(uuid.uuid4())
    assert refuses(exceptions.NotFound, client.get_task, nobody).status_code == 404
    refuses(exceptions.NotFound, client.list_task_output_assets, nobody)
    plan, keys = study.plan(1)
    spec = schemas.ComputePlanSpec(key=plan.key, name="again")
    assert refuses(exceptions.AlreadyExists, client.add_compute_plan, spec, match="OE0006").status_code == 409
    other = Client(study.home.other)
    assert refuses(exceptions.AuthorizationError, other.cancel_compute_plan, plan.key).status_code == 403
    # A model of org-1's alone: its store refuses org-2.
    key = done(study.home, keys[0], b"secret")
    refuses(exceptions.AuthorizationError, other.download_model, key, tmp_path, match="org-2 may not read")
    refuses(exceptions.LoadDataException, study.add_function, file=tmp_path / "none")
    (tmp_path / "sample").mkdir()
    sample = {"path": tmp_path / "sample", "data_manager_keys": [study.dataset]}
    refuses(exceptions.LoadDataException, client.add_data_sample, sample, match="has no files")
    refuses(exceptions.InvalidRequest, client.add_data_sample, sample, local=False, match="reads no folder")
    refuses(exceptions.FilterFormatError, client.list_task, {"worker": "org-1"})
    refuses(exceptions.NotAllowedFilterError, client.list_task, {"colour": ["red"]})
    refuses(exceptions.OrderingFormatError, client.list_task, order_by="colour")


def test_names_change_and_a_task_may_stand_alone(study: Study) -> None:
    client = study.client
    key = client.add_task(schemas.TaskSpec(**study.task(0).model_dump(by_alias=True)))
    task = client.get_task(key)
    assert client.get_compute_plan(task.compute_plan_key).name == key
    client.update_compute_plan(task.compute_plan_key, "alone")
    client.update_dataset(study.dataset, "patients of 2026")
    another = study.add_function()
    client.update_function(another, "renamed")
    assert client.get_compute_plan(task.compute_plan_key).name == "alone"
    assert client.get_dataset(study.dataset).name == "patients of 2026"
    assert client.get_function(another).name == "renamed"
    second = client.add_dataset(
        schemas.DatasetSpec(
            name="second", data_opener=study.opener, description=study.text, permissions=MINE, logs_permission=MINE
        )
    )
    assert client.link_dataset_with_data_samples(second, study.samples) == study.samples
    assert set(client.get_dataset(second).data_sample_keys) == set(study.samples)
    info = client.organization_info()
    assert (info.organization_id, info.channel, str(info.host)) == (
        "org-1",
        client.connection.channel,
        f"{study.home.url}/",
    )
