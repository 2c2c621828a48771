"""The native calls: nodes, commands, problems and iterations."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from orchestrator import protos as pb
from tests.kit.waiting import wait_until

from .conftest import KINDS, Desk, path_of

APP, CARBON, CONSTRAINTS, RESOURCES, METADATA, MODEL = range(6)


def submit(desk: Desk, document: Any = None, **headers: str) -> Any:
    answer = desk.post("/api/problems", document, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_nodes_and_their_replicas(desk: Desk):
    desk.present()
    found = desk.get("/api/nodes").json()
    assert [node["kind"] for node in found["nodes"]] == KINDS
    for node in found["nodes"]:
        assert node == desk.get(f"/api/nodes/{node['kind']}").json() or node["replicas"]
        (replica, *_) = [each for each in node["replicas"] if each["present"]]
        assert (replica["status"], replica["accepting"], replica["running"]) == ("IDLE", True, [])
        assert datetime.fromisoformat(replica["since"]).utcoffset().total_seconds() == 0
    assert desk.get("/api/nodes/NOTHING").status_code == 404


def test_a_prepared_task_runs_when_it_is_started(desk: Desk):
    desk.present()
    made = submit(desk, {"start": False, "modality": "nlp", "priority": 7})
    task = made["task_id"]
    assert made["status"] == "WAITING"
    shown = desk.iteration(task)
    assert (shown["started_at"], shown["priority"], shown["user_input"]["modality"]) == (None, 7, "nlp")
    assert shown["user_input"]["inputs"] == []
    assert {stage["waiting_for"] for stage in shown["stages"]} == {"its task is not started"}
    assert desk.post(f"{path_of(task)}/start", {"minimum_samples": -1}).status_code == 400
    for definition in ("filled in since", "too late"):
        started = desk.post(f"{path_of(task)}/start", {"problem_definition": definition})
        assert (started.status_code, started.json()["task_id"]) == (200, task)
    desk.finish(ml_model=pb.MLModel(model="m", raw_model=b"bytes", input_batch=["a"]))
    shown = desk.iteration(task)
    assert (shown["status"], shown["run"], shown["failed_stage"], shown["warnings"]) == ("SUCCEEDED", 1, None, [])
    assert (shown["user_input"]["problem_definition"], shown["user_input"]["modality"]) == ("filled in since", "nlp")
    model = shown["stages"][MODEL]
    assert (model["status"], model["attempt"], model["output"]["input_batch"]) == ("SUCCEEDED", 1, ["a"])
    assert model["output"]["raw_model_size"] == 5
    raw = desk.get(f"{path_of(task)}/raw_model")
    assert (raw.content, raw.headers["content-type"]) == (b"bytes", "application/octet-stream")


def test_a_key_makes_one_task_of_many_calls(desk: Desk):
    key = uuid.uuid4().hex
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: submit(desk, {}, **{"Idempotency-Key": key}), range(8)))
    assert len({each["task_id"]["problem_id"] for each in made}) == 1
    other = submit(desk, {}, **{"Idempotency-Key": key + "x"})
    assert other["task_id"] != made[0]["task_id"]
    assert desk.post("/api/problems", {}, headers={"Idempotency-Key": "x" * 201}).status_code == 400
    problem = made[0]["task_id"]["problem_id"]
    again = [desk.post(f"/api/problems/{problem}/iterations", {}, headers={"Idempotency-Key": f"{key}i"}) for _ in "12"]
    assert again[0].json()["task_id"] == again[1].json()["task_id"] == {"problem_id": problem, "iteration_id": 2}
    desk.finish()


def test_a_hundred_submits_at_once_get_a_hundred_ids(desk: Desk):
    with ThreadPoolExecutor(32) as pool:
        made = list(pool.map(lambda _: submit(desk, {"start": False})["task_id"]["problem_id"], range(100)))
    assert len(set(made)) == 100


def test_problems_and_their_iterations_are_listed_in_pages(desk: Desk):
    made = [submit(desk, {"start": False, "problem_short_description": f"d{n}"})["task_id"] for n in range(5)]
    numbers = [each["problem_id"] for each in made]
    answer = desk.post(f"/api/problems/{numbers[4]}/iterations", {"from": 1, "modality": "vision", "start": False})
    assert (answer.status_code, answer.json()["task_id"]["iteration_id"]) == (201, 2)
    pages, after = [], None
    while True:
        query = {"limit": 2} | ({"after": after} if after else {})
        page = desk.get("/api/problems", params=query).json()
        pages += page["problems"]
        after = page["next"]
        if after is None or len(pages) >= 6:
            break
    assert [each["problem_id"] for each in pages[:5]] == sorted(numbers, reverse=True)
    assert (pages[0]["problem_short_description"], pages[0]["iterations"]) == ("d4", 2)
    shown = desk.get(f"/api/problems/{numbers[4]}").json()
    assert [each["task_id"]["iteration_id"] for each in shown["iterations"]] == [1, 2]
    assert (shown["iterations"][1]["parent"], shown["problem_short_description"]) == (1, "d4")
    second = desk.iteration({"problem_id": numbers[4], "iteration_id": 2})["user_input"]
    assert (second["modality"], second["problem_short_description"]) == ("vision", "d4")
    for query in ({"limit": "0"}, {"limit": "x"}, {"after": "x"}):
        assert desk.get("/api/problems", params=query).status_code == 400


@pytest.mark.parametrize(
    ("path", "document", "status"),
    [
        ("/api/problems", {"priority": 101}, 400),
        ("/api/problems", {"start": "yes"}, 400),
        ("/api/problems", {"minimum_samples": -1}, 400),
        ("/api/problems/1000000/iterations", {}, 404),
        ("/api/problems/x/iterations", {}, 404),
        ("/api/problems/0/iterations", {}, 404),
        ("/api/problems/1/iterations", {"from": 0}, 400),
        ("/api/problems/1/iterations", {"from": 100000}, 404),
        ("/api/problems/1/iterations/99999/start", {}, 404),
    ],
)
def test_wrong_tasks_are_refused(desk: Desk, path: str, document: Any, status: int):
    submit(desk, {"start": False})
    answer = desk.post(path, document)
    assert (answer.status_code, set(answer.json())) == (status, {"error"}), answer.text


def test_what_has_ended_can_be_deleted_and_its_numbers_stay_used(desk: Desk):
    desk.present()
    task = submit(desk)["task_id"]
    problem = f"/api/problems/{task['problem_id']}"
    assert desk.http.delete(problem).status_code == desk.http.delete(path_of(task)).status_code == 409
    desk.finish()
    assert desk.post(f"{problem}/iterations", {}).status_code == 201
    desk.finish()
    assert desk.http.delete(path_of({**task, "iteration_id": 2})).status_code == 204
    assert desk.post(f"{problem}/iterations", {}).json()["task_id"]["iteration_id"] == 3
    desk.finish()
    assert desk.http.delete(problem).status_code == 204
    assert desk.get(problem).status_code == desk.get(path_of(task)).status_code == 404
    assert desk.result(task, MODEL).status_code == 404
    assert submit(desk, {"start": False})["task_id"]["problem_id"] > task["problem_id"]


def test_a_command_is_accepted_acknowledged_and_kept(desk: Desk):
    module = desk.present()[CONSTRAINTS]
    command = str(uuid.uuid4())
    document = {"command_id": command, "cmd_node": "STOP_NODE", "target_node": "HW_CONSTRAINTS", "source_node": "me"}
    given = desk.post("/api/control", document)
    assert (given.status_code, given.json()["command_id"]) == (202, command)
    assert given.json()["state"] in ("ACCEPTED", "APPLIED")
    waiting = desk.pool.submit(desk.get, f"/api/control/{command}", params={"wait": 20})
    told = module.report()
    module.report(outcomes=[pb.CommandOutcome(command_id=each.command_id) for each in told.commands])
    record = waiting.result(60).json()
    assert record["state"] == "APPLIED"
    assert record["targets"][0]["state"] == "APPLIED"
    assert record["targets"][0]["at"] >= record["accepted_at"]
    assert desk.get("/status").json()["status"]["HW_CONSTRAINTS"] == "INACTIVE"
    again = desk.post("/api/control", document)
    assert (again.status_code, again.json()) == (200, record)
    for spelling in ("HW_CONSTRAINTS_NODE", "hw_constraints", 2):
        again = desk.post("/api/control", {**document, "command_id": command.upper(), "target_node": spelling})
        assert (again.status_code, again.json()) == (200, record), spelling
    assert desk.post("/api/control", {**document, "source_node": "you"}).status_code == 409
    started = desk.post("/api/control", {"cmd_node": 1, "target_node": 2}).json()
    told = module.report()
    module.report(outcomes=[pb.CommandOutcome(command_id=each.command_id) for each in told.commands])
    wait_until(lambda: desk.get(f"/api/control/{started['command_id']}").json()["state"] == "APPLIED")
    newest = desk.get("/api/control", params={"limit": 1}).json()
    assert newest["commands"][0]["command_id"] == started["command_id"]
    older = desk.get("/api/control", params={"limit": 1, "after": newest["next"]}).json()
    assert older["commands"][0]["command_id"] == command


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({}, 400),
        ({"cmd_task": "STOP_TASK"}, 400),
        ({"cmd_task": 1, "task_id": {"problem_id": 10**6, "iteration_id": 1}}, 404),
        ({"cmd_node": "STOP_NODE", "target_node": "NOTHING"}, 404),
        ({"cmd_node": "STOP_NODE", "target_node": "ML_MODEL/nobody"}, 404),
        ({"cmd_node": "HALT"}, 400),
    ],
)
def test_a_wrong_command_is_refused_and_not_kept(desk: Desk, document: Any, status: int):
    before = desk.get("/api/control").json()
    assert desk.post("/api/control", document).status_code == status
    assert desk.get("/api/control").json() == before


def test_a_command_that_nobody_gave_is_not_there(desk: Desk):
    assert desk.get(f"/api/control/{uuid.uuid4()}").status_code == 404
    assert desk.get("/api/control/x").status_code == 404


def test_a_task_is_reset_and_terminated_for_good(desk: Desk):
    desk.present()
    task = submit(desk)["task_id"]
    desk.finish()
    reset = desk.post("/api/control", {"cmd_task": "RESET_TASK", "task_id": task})
    assert reset.status_code == 202, reset.text
    assert desk.iteration(task)["run"] == 2
    desk.finish()
    ended = desk.post("/api/control", {"cmd_task": "TERMINATE_TASK", "task_id": task})
    if ended.status_code == 202:
        assert desk.post("/api/control", {"cmd_task": "RESET_TASK", "task_id": task}).status_code == 409
