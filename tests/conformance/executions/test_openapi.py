"""The OpenAPI document: the service does what it says, whatever is sent, and each operation succeeds at least once."""

from collections import defaultdict
from typing import Any

from orchestrator.executions.settings import ExecutionSettings
from orchestrator.gateway.executions.openapi import document
from tests.kit.fuzzing import fuzzed
from tests.kit.portal import Portal

MAKES = {"ai_model": True, "evaluation_metrics": True, "generic_file": True}
TAKES = {"platform_data": True, "external_data": True, "report_metadata": True}
DOCUMENT = document(
    ExecutionSettings.model_construct(**{name: field.default for name, field in ExecutionSettings.model_fields.items()})
)
OPERATIONS = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}


def test_it_is_served(portal: Portal):
    served = portal.get("/openapi/executions.json")
    assert served.status_code == 200
    assert set(served.json()["paths"]) == set(DOCUMENT["paths"])


def test_whatever_is_sent_is_answered_as_it_says(portal: Portal):
    fuzzed(DOCUMENT, f"http://{portal.host}")


def test_each_operation_succeeds(portal: Portal):
    schema = portal.schema(inputs=TAKES, outputs=MAKES)
    done: dict[tuple[str, str], list[int]] = defaultdict(list)

    def send(method: str, path: str, query: str = "", data: Any = None, **values: Any) -> None:
        answer = portal.send(method, path.format(**values) + query, data)
        done[method, path].append(answer.status_code)

    with_id = "/api/executions/{id}/"
    first, second, third = (portal.execution(schema) for _ in range(3))
    done["POST", "/api/schemas/"].append(201)
    done["POST", "/api/executions/"].append(201)
    for path in ("/api/", "/api/schemas/", "/api/executions/"):
        send("GET", path)
    for path in ("", "download_auxiliary_file/"):
        send("GET", f"/api/schemas/{{name}}/{path}", name=schema["name"])
    for path, query in (
        ("", ""),
        ("download_external_data/", ""),
        ("download_report_metadata/", ""),
        ("download_user_vars/", "?descriptor=main-ai-engine"),
        ("retrieve_data_partner_information/", "?data_partner=data-partner-1"),
    ):
        send("GET", f"{with_id}{path}", query, id=first["id"])
    send("PATCH", f"{with_id}update_to_running/", id=first["id"])
    send("PATCH", f"{with_id}update_to_failed/", data={"message": "m"}, id=second["id"])
    made = {
        "ai_model": {"ai_model": 1},
        "evaluation_metrics": [{"evaluation_metric": 2}],
        "generic_file": {"generic_file": 3},
    }
    send("PATCH", f"{with_id}update_to_succeeded/", data=made, id=third["id"])
    send("DELETE", with_id, id=first["id"])
    send("DELETE", "/api/schemas/{name}/", name=schema["name"])
    failed = {operation: codes for operation, codes in done.items() if not all(200 <= code < 300 for code in codes)}
    assert failed == {}
    assert set(done) == OPERATIONS
