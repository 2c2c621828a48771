"""Executions are placed at Argo by runtimes, fail where they cannot be, and are ended with what was placed."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.kit.argo import Refusal
from tests.kit.installation import TEMPLATE, Installation
from tests.kit.waiting import wait_until

FEDERATED = {"inputs": {"platform_data": True, "federated_learning_configuration": True}}


@pytest.fixture(scope="module", autouse=True)
def runtime(installation: Installation) -> Iterator[None]:
    with installation.runtime("steady"):
        yield


def placed(installation: Installation, **schema: Any) -> tuple[dict[str, Any], str]:
    execution = installation.started(**schema)
    return execution, installation.await_workflow(execution)


def await_none(installation: Installation, execution: dict[str, Any]) -> None:
    wait_until(lambda: not installation.workflows(execution), 30, "no workflow to be left")


def test_an_execution_is_placed_once_as_its_template_says(installation: Installation):
    execution, name = placed(installation)
    assert installation.workflows(execution) == [name]
    workflow = installation.argo.workflows[name]
    parameters = {each["name"]: each["value"] for each in workflow["spec"]["arguments"]["parameters"]}
    assert parameters["execution_id"] == str(execution["id"])
    assert workflow["metadata"]["generateName"] == "tumour-"
    assert workflow["kind"] == "Workflow"
    assert workflow["spec"]["entrypoint"] == "main"
    assert installation.state(execution) == {"status": "pending"}
    assert installation.steps(execution) == {"START": "Done"}


def test_topics_are_there_before_a_federated_workflow_is(installation: Installation):
    with installation.asked_for(lambda: installation.started(**FEDERATED)) as execution:
        topics = installation.topics_of(execution)
    assert {name.rpartition("_-SEP-_")[2] for name in topics} == {"_models_to_manager", "_models_to_clients"}
    assert "status" in installation.topics()
    name = installation.await_workflow(execution)
    parameters = installation.argo.workflows[name]["spec"]["arguments"]["parameters"]
    adapter = parameters[-1]["value"]
    assert parameters[-1]["name"] == "execution_communicationAdapterId"
    assert topics == {f"{adapter}_models_to_manager", f"{adapter}_models_to_clients"}


def test_what_argo_refuses_fails_and_leaves_nothing(installation: Installation):
    installation.argo.refusal = Refusal(403, "workflows are not for you", methods=("POST",))
    execution = installation.started(**FEDERATED)
    message = installation.await_state(execution, "failed")
    installation.argo.refusal = None
    assert "workflows are not for you" in message
    assert message.startswith("it could not be started: ")
    wait_until(
        lambda: installation.steps(execution) == {"START": "Failed", "END": "Done", "CLEAN": "Done"},
        30,
        "what was made to be removed",
    )
    assert not installation.topics_of(execution)
    assert not installation.workflows(execution)


def test_a_lost_answer_makes_no_second_workflow(installation: Installation):
    installation.argo.lost_answers = 1
    execution, name = placed(installation)
    assert installation.workflows(execution) == [name]


def test_an_execution_that_is_deleted_leaves_no_workflow(installation: Installation):
    execution, _ = placed(installation)
    assert installation.portal.send("DELETE", f"/api/executions/{execution['id']}/").status_code == 204
    await_none(installation, execution)


def test_a_schema_that_is_deleted_leaves_no_workflow(installation: Installation):
    execution, _ = placed(installation)
    schema = execution["schema"].removeprefix(f"http://{installation.portal.host}")
    assert installation.portal.send("DELETE", schema).status_code == 204
    await_none(installation, execution)


def test_a_start_that_is_overtaken_by_a_deletion_leaves_no_workflow(installation: Installation):
    with installation.asked_for(installation.started) as execution:
        assert installation.portal.send("DELETE", f"/api/executions/{execution['id']}/").status_code == 204
    wait_until(lambda: installation.steps(execution)["END"] == "Done", 30, "its end to be asked for")
    await_none(installation, execution)


def test_a_cancelled_execution_fails_and_its_workflow_is_ended(installation: Installation):
    execution, _ = placed(installation)
    path = f"/api/executions/{execution['id']}/update_to_failed/?cancel=true"
    answer = installation.portal.send("PATCH", path, {"message": "cancelled by Ada"})
    assert answer.json()["state"] == {"status": "failed", "message": "cancelled by Ada"}
    await_none(installation, execution)


def test_a_plain_failure_leaves_its_workflow_alone(installation: Installation):
    execution, name = placed(installation)
    installation.portal.report(execution, "failed", {"message": "out of memory"})
    looked = len(installation.argo.asked)
    wait_until(lambda: len(installation.argo.asked) > looked + 2, 30, "a look")
    assert installation.workflows(execution) == [name]


@pytest.mark.parametrize("how", ["ended", "vanished"])
def test_a_workflow_that_says_nothing_fails_its_execution(installation: Installation, how: str):
    execution, name = placed(installation)
    installation.portal.report(execution, "running")
    if how == "ended":
        installation.argo.end(name, "Failed", "pod was evicted")
    else:
        installation.argo.forget(name)
    message = installation.await_state(execution, "failed")
    assert name in message
    assert ("pod was evicted" if how == "ended" else "is gone") in message


def test_a_report_comes_before_the_look(installation: Installation):
    execution, name = placed(installation)
    installation.argo.end(name, "Succeeded")
    installation.portal.report(execution, "succeeded", {})
    looked = len(installation.argo.asked)
    wait_until(lambda: len(installation.argo.asked) > looked + 2, 30, "a look")
    assert installation.state(execution) == {"status": "succeeded"}


def test_a_debugged_execution_is_not_placed_and_can_be_deleted(installation: Installation):
    execution, _ = placed(installation)
    name = execution["schema"].rstrip("/").rpartition("/")[2]
    schema = installation.portal.get(f"/api/schemas/{name}/").json()
    created = len(installation.argo.created())
    data, files = installation.new_execution(schema)
    debugged = installation.portal.send("POST", "/api/executions/?debug=true", data, files).json()
    # One that comes later is placed before it would be.
    placed(installation)
    assert len(installation.argo.created()) == created + 1
    assert installation.steps(debugged) == {}
    assert installation.portal.send("DELETE", f"/api/executions/{debugged['id']}/").status_code == 204


@pytest.mark.parametrize(
    "template",
    [b"- a list\n", b"kind: Workflow\n", b"a: [\n", b"kind: CronWorkflow\n" + TEMPLATE.partition(b"Workflow\n")[2]],
)
def test_a_template_that_is_none_is_refused_at_once(installation: Installation, template: bytes):
    schema = installation.schema(template)
    kept = installation.portal.kept()
    answer = installation.portal.send("POST", "/api/executions/", *installation.new_execution(schema))
    assert answer.status_code == 400
    assert "is no workflow" in answer.json()[0]
    assert installation.portal.kept() == kept


def test_the_trace_agrees_with_the_rows(installation: Installation):
    checked = installation.audit()
    assert checked.returncode == 0, checked.stdout + checked.stderr
