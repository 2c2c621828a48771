"""The OpenAPI document: the service does what it says, whatever is sent, and each operation succeeds at least once."""

import uuid
from collections import defaultdict
from typing import Any

from orchestrator import protos as pb
from orchestrator.gateway.problems.openapi import document
from tests.kit.fuzzing import fuzzed

from .conftest import Desk, Listener
from .test_configuration import answering

DOCUMENT = document()
OPERATIONS = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
EVENTS = "/api/events"


def test_it_is_served(desk: Desk):
    served = desk.get("/openapi/problems.json")
    assert (served.status_code, served.json()) == (200, DOCUMENT)


def test_each_operation_succeeds(desk: Desk):
    done: dict[tuple[str, str], list[int]] = defaultdict(list)

    def send(method: str, path: str, body: Any = None, **values: Any) -> Any:
        answer = desk.http.request(method, path.format(**values), json=body)
        done[method, path].append(answer.status_code)
        return answer.json() if answer.content and "json" in answer.headers["content-type"] else None

    modules = desk.present()
    made = send("POST", "/api/problems", {"start": False})["task_id"]
    task = {"problem": made["problem_id"], "iteration": made["iteration_id"]}
    one = "/api/problems/{problem}/iterations/{iteration}"
    send("POST", f"{one}/start", **task)
    desk.finish(ml_model=pb.MLModel(raw_model=b"1"))
    send("GET", f"{one}/raw_model", **task)
    for path in ("/api/problems", "/api/problems/{problem}", one, "/api/nodes", "/api/nodes/{kind}", "/api/control"):
        send("GET", path, **task, kind="ML_MODEL")
    send("POST", "/api/problems/{problem}/iterations", {"start": False}, problem=task["problem"])
    send("POST", f"{one}/start", problem=task["problem"], iteration=2)
    desk.finish()
    send("DELETE", one, problem=task["problem"], iteration=2)
    send("DELETE", "/api/problems/{problem}", problem=task["problem"])
    command = str(uuid.uuid4())
    send("POST", "/api/control", {"cmd_node": "START_NODE", "target_node": "ML_MODEL", "command_id": command})
    send("GET", "/api/control/{command}", command=command)
    with answering(modules[4]):
        send("POST", "/api/nodes/{kind}/configuration", {"configuration": "modality"}, kind="ML_MODEL_METADATA")
    with Listener(desk) as listener:
        done["GET", EVENTS].append(listener.status)
    failed = {operation: codes for operation, codes in done.items() if not all(200 <= code < 300 for code in codes)}
    assert failed == {}
    assert set(done) == OPERATIONS


def test_whatever_is_sent_is_answered_as_it_says(desk: Desk):
    first, asking = "/api/problems", "/api/nodes/{kind}/configuration"
    # It imports what it needs: Python 3.11 may fail to read a module while another thread reads code, too.
    fuzzed(only(first), f"http://{desk.host}", examples=1)
    with answering(*desk.present().values()):
        fuzzed(only(asking), f"http://{desk.host}", examples=1)
    # A stream has no end that one could wait for; who is commanded to end answers no more.
    fuzzed(only(*{*DOCUMENT["paths"]} - {first, asking, EVENTS}), f"http://{desk.host}", examples=1)
    desk.post("/api/control", {"cmd_node": "START_NODE", "target_node": "ALL"})


def only(*paths: str) -> dict[str, Any]:
    """The document with some of its paths."""
    return {**DOCUMENT, "paths": {path: DOCUMENT["paths"][path] for path in paths}}
