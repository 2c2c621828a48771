"""Configuration requests: which node they go to, and what every answer has, also where nobody answers."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from orchestrator import protos as pb
from tests.kit.deployment import Module
from tests.kit.waiting import wait_until

from .conftest import KINDS, Desk

METADATA, MODEL = 4, 5


@contextmanager
def answering(*modules: Module, success: bool = True) -> Iterator[None]:
    """Have modules answer what they are asked, meanwhile."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.1):
            for module in modules:
                for asked in module.report().requests:
                    text = json.dumps({"asked": asked.configuration, "node": asked.node_id, "by": module.name})
                    module.report(
                        answers=[
                            pb.ConfigurationAnswer(
                                transaction_id=asked.transaction_id,
                                success=success,
                                err_code=int(not success),
                                configuration=text,
                            )
                        ]
                    )

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_text_goes_to_the_node_of_its_first_word_or_the_one_that_is_said(desk: Desk):
    modules = desk.present()
    with answering(modules[METADATA], modules[MODEL]):
        by_word = desk.post("/config_request", {"configuration": "metrics, all: x", "request_id": [1, "a"]})
        by_number = desk.post("/config_request", {"configuration": "modality", "node_id": MODEL})
    assert by_word.status_code == by_number.status_code == 200
    found = by_word.json()["response"]
    assert (found["node_id"], found["success"], found["err_code"], found["request_id"]) == (METADATA, True, 0, [1, "a"])
    assert json.loads(found["configuration"])["asked"] == "metrics, all: x"
    assert "message" in by_word.json()
    other = by_number.json()["response"]
    assert (other["node_id"], "request_id" in other) == (MODEL, False)
    assert 0 < found["transaction_id"] < other["transaction_id"] < 2**31


def test_a_failure_is_no_success_and_still_an_answer(desk: Desk):
    module = desk.present()[METADATA]
    with answering(module, success=False):
        answer = desk.post("/config_request", {"configuration": "modality"})
    found = answer.json()["response"]
    assert (answer.status_code, found["success"], found["err_code"]) == (200, False, 1)


@pytest.mark.parametrize(
    ("document", "status", "node"),
    [
        ({}, 400, 0),
        ({"configuration": 3, "node_id": 4}, 400, 4),
        ({"configuration": "search a modality"}, 400, 0),
        ({"configuration": "modality", "node_id": 9}, 400, 9),
        ({"configuration": "modality", "node_id": "4"}, 400, 0),
        ({"configuration": "modality", "timeout": 601}, 400, 4),
        ({"configuration": "modality", "timeout": "1"}, 400, 4),
        ({"configuration": "modality", "timeout": 0.1}, 504, 4),
        ({"configuration": "dataset_path, /etc/passwd"}, 403, 4),
        ({"configuration": "goal \ud83d", "node_id": 5}, 400, 5),
        ({"configuration": "goal", "node_id": 5, "deep": ["\ud83d"]}, 400, 5),
        ({"configuration": "goal", "more": "a\0b"}, 400, 5),
    ],
)
def test_every_error_has_a_response(desk: Desk, document: dict[str, Any], status: int, node: int):
    desk.present()
    # In ASCII: half of a surrogate pair has no other bytes.
    answer = desk.http.post("/config_request", content=json.dumps({**document, "request_id": "r"}).encode())
    assert answer.status_code == status, answer.text
    found = answer.json()["response"]
    assert (found["node_id"], found["success"], found["err_code"], found["request_id"]) == (node, False, 1, "r")
    assert json.loads(found["configuration"]) == {"error": answer.json()["error"]}


def test_without_a_node_it_is_said_at_once(desk: Desk):
    desk.leave()
    answer = desk.post("/config_request", {"configuration": "hardwares"})
    assert (answer.status_code, answer.json()["response"]["node_id"]) == (503, 3)
    answer = desk.post("/api/nodes/ML_MODEL/configuration", {"configuration": ""})
    assert (answer.status_code, set(answer.json())) == (503, {"error"})
    assert desk.get("/status").json() == {"status": dict.fromkeys(KINDS, "INACTIVE")}


def test_a_module_that_goes_while_it_is_asked_is_told_at_once(desk: Desk):
    module = desk.present()[MODEL]
    asked = {"configuration": "goal", "timeout": 60}
    waiting = [desk.later("/config_request", asked), desk.later("/api/nodes/ML_MODEL/configuration", asked)]
    # Each is told of when the one before is answered.
    kept = "SELECT 1 FROM configuration_requests WHERE kind = :kind AND answered_at IS NULL AND deadline_at > now()"
    wait_until(lambda: len(desk.deployment.rows(kept, kind=MODEL)) == len(waiting), 60, "both requests to be there")
    wait_until(lambda: module.report().requests, 60)
    module.phase = pb.PHASE_ENDED
    module.report()
    front, native = (each.result(20) for each in waiting)
    module.phase = pb.PHASE_SPINNING
    module.register()
    assert (front.status_code, native.status_code) == (503, 503)
    response = front.json()["response"]
    assert (response["node_id"], response["success"], response["err_code"]) == (MODEL, False, 1)
    assert "ML_MODEL/" in front.json()["error"]
    assert "has gone" in native.json()["error"]
    assert "has gone" in json.loads(response["configuration"])["error"]


def test_a_body_that_is_none_has_a_response_too(desk: Desk):
    answer = desk.http.post("/config_request", content=b"{")
    assert (answer.status_code, answer.json()["response"]["node_id"]) == (400, 0)


def test_a_file_in_a_folder_that_is_allowed_is_forwarded(desk: Desk):
    with answering(desk.present()[METADATA]):
        answer = desk.post("/config_request", {"configuration": "dataset_path, /data/a.csv"})
    assert answer.status_code == 200


def test_all_replicas_answer_where_all_are_asked(desk: Desk):
    module = desk.present()[METADATA]
    other = Module(desk.deployment, METADATA, "second")
    path = "/api/nodes/ML_MODEL_METADATA/configuration"
    with answering(module, other):
        every = desk.post(path, {"configuration": "modality", "replicas": "all"})
        one = desk.post("/api/nodes/4/configuration", {"configuration": "modality"})
    other.phase = pb.PHASE_ENDED
    other.report()
    assert {each["replica"] for each in every.json()["answers"]} == {module.name, "second"}
    assert every.json()["complete"]
    assert len(one.json()["answers"]) == 1
    for document, status in (({"configuration": "x", "replicas": "some"}, 400), ({}, 400)):
        assert desk.post(path, document).status_code == status
    assert desk.post("/api/nodes/NONE/configuration", {"configuration": "x"}).status_code == 404
