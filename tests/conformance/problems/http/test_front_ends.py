"""What front ends that exist call: states, submitting, results, and what is answered where something is wrong."""

import json
from typing import Any

import pytest

from orchestrator import protos as pb
from tests.kit.waiting import wait_until

from .conftest import KINDS, Desk

APP, CARBON, CONSTRAINTS, RESOURCES, METADATA, MODEL = range(6)


def test_the_root_and_every_error_is_an_object(desk: Desk):
    assert set(desk.get("/").json()) == {"message"}
    for answer, status in (
        (desk.get("/nothing"), 404),
        (desk.get("/status/"), 404),
        (desk.get("/user_input"), 405),
        (desk.http.put("/results"), 405),
        (desk.get("/terminate"), 403),
        (desk.get("/shutdown"), 403),
        (desk.http.post("/user_input", content=b"[1]"), 400),
        (desk.http.post("/user_input"), 400),
        (desk.http.post("/api/problems", content=b" \n"), 400),
        (desk.http.post("/user_input", content=b'{"modality": "\xff"}'), 400),
        (desk.http.post("/user_input", content=b'{"desired_carbon_footprint": NaN}'), 400),
        (desk.http.post("/user_input", content=b" " * 4_200_000), 413),
        (desk.post("/hf_models_info", {"model_ids": ["a/b"]}), 503),
        (desk.post("/hf_models_compare", {"models": [{"model_id": "a"}]}), 503),
        (desk.post("/hf_models_info", {}), 400),
        (desk.post("/hf_models_compare", {"models": []}), 400),
    ):
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/json"
        assert isinstance(answer.json()["error"], str)
    assert (
        "desired_carbon_footprint" in desk.http.post("/user_input", content=b'{"desired_carbon_footprint": NaN}').text
    )
    assert desk.get("/").status_code == 200


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}])
def test_foreign_pages_and_hosts_are_turned_away(desk: Desk, headers: dict[str, str]):
    answer = desk.http.post("/status", content=b"{}", headers=headers)
    assert (answer.status_code, set(answer.json())) == (403, {"error"})


def test_the_media_type_may_be_missing(desk: Desk):
    request = desk.http.build_request("POST", "/status", content=b"{}")
    assert "content-type" not in request.headers
    assert desk.http.send(request).status_code == 200


def test_states_are_always_of_all_six(desk: Desk):
    desk.present()
    for answer in (desk.get("/status"), desk.post("/status"), desk.http.post("/status")):
        assert answer.status_code == 200
        assert answer.json() == {"status": dict.fromkeys(KINDS, "IDLE")}
    assert desk.post("/status", {"node_id": 3}).json() == {"status": "IDLE"}


@pytest.mark.parametrize("node", [6, -1, "3", 9, 1.5, [], True])
def test_a_state_of_no_kind_is_a_wrong_request(desk: Desk, node: object):
    answer = desk.post("/status", {"node_id": node})
    assert (answer.status_code, "node_id" in answer.json()["error"]) == (400, True)


def test_a_task_runs_to_results_for_all_who_wait(desk: Desk):
    desk.present()
    task = desk.submit({"num_outputs": 1}, inputs=["a", "b"], modality="nlp", problem_type="kept")
    waiting = [desk.later("/results", {"node_id": node, "task_id": task}) for node in (*range(6), 9)]
    at_once = desk.result(task, 7)
    shown = at_once.json()["ORCHESTRATOR"]
    assert (list(at_once.json()), shown["inputs"], shown["inputs_list"]) == (["ORCHESTRATOR"], "a b", ["a", "b"])
    assert shown["extra_data"]["problem_type"] == "kept"
    assert shown["extra_data"]["hardware_required"] == "PIM_AI_1chip"
    assert not any(each.done() for each in waiting)
    desk.finish(
        app_requirements=pb.AppRequirements(app_requirements=["x", "y"]),
        ml_model=pb.MLModel(model="m", raw_model=b"12345"),
        carbon_footprint=pb.CO2Footprint(carbon_footprint=float("nan"), extra_data=b"\xff"),
    )
    answers = [each.result(60) for each in waiting]
    assert [each.status_code for each in answers] == [200] * 7
    for kind, answer in zip(KINDS, answers[:6], strict=True):
        (name,) = answer.json()
        assert name == kind
        assert (answer.json()[kind]["task_id"], answer.json()[kind]["status"]) == (task, "SUCCEEDED")
    every = answers[6].json()
    assert list(every) == [*KINDS, "task_id"]
    assert every["task_id"] == task
    assert every["APP_REQUIREMENTS"]["app_requirements"] == "x, y"
    assert (every["ML_MODEL"]["model"], every["ML_MODEL"]["raw_model_size"]) == ("m", 5)
    assert (every["CARBON_FOOTPRINT"]["carbon_footprint"], every["CARBON_FOOTPRINT"]["extra_data"]) == (None, {})
    assert every["HW_RESOURCES"]["extra_data"] is None
    assert desk.result(task, 9).json() == every
    assert desk.get("/results").json() == every
    assert desk.post("/results", {"node_id": 9}).json() == every


def test_the_chain_names_its_next_task_which_can_be_asked_for_at_once(desk: Desk):
    task = desk.submit({"num_outputs": 2})
    extra = json.dumps({"num_outputs": 2, "model_restrains": ["m"]}).encode()
    last = desk.later("/results", {"node_id": 1, "task_id": task})
    for kind in (APP, CONSTRAINTS, METADATA, MODEL, RESOURCES):
        desk.run(kind)
    desk.run(CARBON, pb.CO2Footprint(extra_data=extra))
    found = last.result(60).json()["CARBON_FOOTPRINT"]
    following = {**task, "iteration_id": 2}
    assert (found["next_task_id"], found["extra_data"]["num_outputs"]) == (following, 2)
    again = desk.result(following, 7).json()["ORCHESTRATOR"]
    assert (again["previous_iteration"], again["extra_data"]["num_outputs"]) == (1, 1)
    assert again["extra_data"]["model_restrains"] == ["m"]
    desk.finish()
    assert "next_task_id" not in desk.result(following, 1).json()["CARBON_FOOTPRINT"]


def test_a_failed_stage_answers_all_who_wait(desk: Desk):
    task = desk.submit()
    waiting = [desk.later("/results", {"node_id": node, "task_id": task}) for node in (*range(6), 9)]
    modules = desk.present()
    claimed = modules[METADATA].take()
    modules[METADATA].fail(claimed.attempt, pb.STAGE_ERROR_EXCEPTION, "ValueError: no")
    desk.run(APP)
    desk.run(CONSTRAINTS)
    *single, every = [each.result(60) for each in waiting]
    assert {each.status_code for each in (*single, every)} == {200}
    model = single[MODEL].json()["ML_MODEL"]
    assert (model["model"], model["model_path"], model["status"]) == ("Error", "Error", "SKIPPED")
    assert (model["failed_stage"], "ValueError: no" in model["error"]) == ("ML_MODEL_METADATA", True)
    assert single[RESOURCES].json()["HW_RESOURCES"]["hw_description"] == "Error"
    assert single[CARBON].json()["CARBON_FOOTPRINT"]["extra_data"]["mode"] == "error"
    assert single[METADATA].json()["ML_MODEL_METADATA"]["status"] == "ERROR"
    assert every.json()["APP_REQUIREMENTS"]["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({"node_id": 9, "task_id": {"problem_id": 0, "iteration_id": 0}}, 404),
        ({"node_id": 0, "task_id": {"problem_id": 10**6, "iteration_id": 1}}, 404),
        ({"node_id": 0, "task_id": {"problem_id": 2**32 - 1, "iteration_id": 1}}, 404),
        ({"node_id": 6}, 400),
        ({"node_id": 8}, 400),
        ({"node_id": "1"}, 400),
        ({}, 400),
        ({"node_id": 0, "task_id": 3}, 400),
        ({"node_id": 0, "task_id": {"problem_id": 1}}, 400),
        ({"node_id": 0, "task_id": {"problem_id": -1, "iteration_id": 1}}, 400),
        ({"node_id": 0, "task_id": {"problem_id": 2**32, "iteration_id": 1}}, 400),
        ({"node_id": 0, "wait": -1}, 400),
        ({"node_id": 0, "wait": "1"}, 400),
    ],
)
def test_wrong_questions_for_results_are_refused_at_once(desk: Desk, document: dict[str, Any], status: int):
    answer = desk.post("/results", document)
    assert (answer.status_code, set(answer.json())) == (status, {"error"})


def test_a_wait_ends_with_its_time(desk: Desk):
    task = desk.submit()
    for node, wait, state in ((MODEL, 0, "WAITING"), (9, 0.2, "WAITING")):
        answer = desk.result(task, node, wait=wait)
        assert (answer.status_code, answer.json()["status"]) == (504, state)
        assert "error" in answer.json()
    desk.finish()
    assert desk.result(task, MODEL, wait=0).status_code == 200


def test_iterations_begin_with_the_one_that_is_chosen(desk: Desk):
    first = desk.submit({"goal": "g"}, modality="nlp", problem_definition="d")
    extra = {"previous_problem_id": first["problem_id"]}
    second = desk.submit(extra, previous_iteration=1, modality="vision")
    third = desk.submit(extra, previous_iteration=-1)
    assert [second["iteration_id"], third["iteration_id"]] == [2, 3]
    shown = desk.result(third, 7).json()["ORCHESTRATOR"]
    assert (shown["modality"], shown["problem_definition"], shown["previous_iteration"]) == ("vision", "d", 2)
    assert shown["extra_data"]["goal"] == ""
    for iteration, problem, status in ((7, first["problem_id"], 404), (1, 10**6, 404), (1, None, 400)):
        document = {"previous_iteration": iteration, "extra_data": {"previous_problem_id": problem}}
        assert desk.post("/user_input", document).status_code == status
    desk.finish()


def test_a_wrong_member_makes_no_task(desk: Desk):
    before = desk.post("/available_tasks").json()
    for document in ({"minimum_samples": -1}, {"extra_data": {"num_outputs": 0}}, {"inputs": "text"}):
        answer = desk.post("/user_input", document)
        assert answer.status_code == 400
        assert next(iter(document.get("extra_data", document))) in answer.json()["error"]
    assert desk.post("/available_tasks").json() == before


def test_half_a_surrogate_pair_hides_nothing_of_what_a_module_has_said(desk: Desk):
    desk.present()
    task = desk.submit()
    said = b'{"error": "caf\\ud83d!", "k\\udc00": ["whole \\ud83d\\ude00"]}'
    desk.run(APP, pb.AppRequirements(app_requirements=["a"], extra_data=said))
    shown = desk.result(task, APP).json()["APP_REQUIREMENTS"]
    assert shown["extra_data"] == {"error": "caf\ufffd!", "k\ufffd": ["whole \U0001f600"]}
    assert desk.iteration(task)["stages"][APP]["output"]["extra_data"] == shown["extra_data"]
    desk.finish()


def test_what_a_failed_stage_had_written_is_shown_to_people_alone(desk: Desk):
    task = desk.submit()
    module = desk.present()[APP]
    claimed = module.take()
    module.fail(claimed.attempt, pb.STAGE_ERROR_NODE_ERROR, "half done", pb.AppRequirements(app_requirements=["half"]))
    stage = desk.iteration(task)["stages"][APP]
    assert (stage["status"], stage["output"]) == ("ERROR", None)
    assert stage["diagnosis"]["app_requirements"] == ["half"]
    assert desk.iteration(task)["stages"][CARBON]["diagnosis"] is None
    assert desk.result(task, APP).json()["APP_REQUIREMENTS"]["app_requirements"] == ""
    desk.finish()


def test_numbers_that_front_ends_cannot_hold_are_never_given(desk: Desk):
    task = desk.submit()
    stored = (
        "SELECT last_problem, last_iteration FROM deployments JOIN problems ON name = deployment WHERE problem = :p"
    )
    ((problem, iteration),) = desk.deployment.rows(stored, p=task["problem_id"])
    change = """
        WITH one AS (UPDATE deployments SET last_problem = :problem)
        UPDATE problems SET last_iteration = :iteration WHERE problem = :p
    """
    desk.deployment.change(change, problem=2**31 - 1, iteration=2**31 - 1, p=task["problem_id"])
    try:
        for path in ("/user_input", "/api/problems", f"/api/problems/{task['problem_id']}/iterations"):
            answer = desk.post(path, {"modality": "nlp"})
            assert (answer.status_code, "number" in answer.json()["error"]) == (507, True), answer.text
        again = {"previous_iteration": 1, "extra_data": {"previous_problem_id": task["problem_id"]}}
        assert desk.post("/user_input", again).status_code == 507
    finally:
        desk.deployment.change(change, problem=problem, iteration=iteration, p=task["problem_id"])
    assert desk.submit()["problem_id"] == problem + 1


def test_all_tasks_are_listed_once_and_in_order(desk: Desk):
    task = desk.submit()
    found = desk.post("/available_tasks").json()
    ids = [(each["problem_id"], each["iteration_id"]) for each in found["task_ids"]]
    assert (found["count"], ids) == (len(ids), sorted(set(ids)))
    assert task in found["task_ids"]
    desk.finish()


def test_stop_answers_who_waits_before_its_module_has_stopped(desk: Desk):
    desk.finish()
    assert desk.post("/cancel").json()["status"] == "not_found"
    task = desk.submit({"num_outputs": 3})
    module = desk.present()[METADATA]
    claimed = module.take()
    waiting = [desk.later("/results", {"node_id": node, "task_id": task}) for node in (METADATA, CARBON, 9)]
    wait_until(lambda: desk.iteration(task)["stages"][METADATA]["status"] == "RUNNING")
    stopped = desk.post("/cancel")
    assert stopped.status_code == 200
    assert (stopped.json()["status"], stopped.json()["task_id"]) == ("cancelled", task)
    assert stopped.json()["command_id"]
    assert [each.result(60).status_code for each in waiting] == [200] * 3
    assert waiting[0].result().json()["ML_MODEL_METADATA"]["status"] == "STOPPED"
    assert desk.post("/cancel", task).json()["status"] == "cancelled"
    module.report()
    module.report()
    assert claimed.attempt not in module.runs
    assert desk.iteration(task)["status"] == "STOPPED"
    assert desk.post("/cancel", {"problem_id": 10**6, "iteration_id": 1}).json()["status"] == "not_found"
    assert desk.post("/cancel", {"problem_id": 0, "iteration_id": 0}).json()["status"] == "not_found"
    assert desk.post("/cancel", {"problem_id": 1}).status_code == 400


def test_what_has_ended_otherwise_cannot_be_cancelled(desk: Desk):
    task = desk.submit()
    desk.finish()
    answer = desk.post("/cancel", task)
    assert (answer.status_code, answer.json()["status"]) == (404, "not_found")
    answer = desk.post("/cancel", {"problem_id": 0, "iteration_id": 0})
    assert (answer.status_code, answer.json()["status"]) == (404, "not_found")
    assert answer.json()["error"].startswith("task {0, 0}")
