"""Executions where callers are known: what was sent for a data partner is its own, and URLs lead back over TLS."""

import json
from typing import Any

import httpx

from tests.conformance.executions.conftest import new_execution, new_schema, partner

from .served import HERE, Served


def created(caller: httpx.Client, path: str, data: Any, files: dict[str, bytes]) -> dict[str, Any]:
    parts = [("data", (None, json.dumps(data))), *((name, (name, content)) for name, content in files.items())]
    answer = caller.post(path, files=parts)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_what_was_sent_for_a_partner_is_for_it_and_for_who_runs_executions(served: Served):
    with served.caller("org-2") as caller:
        new = new_schema(inputs={"platform_data": True, "federated_learning_configuration": True})
        schema = created(caller, "/api/schemas/", new, {"auxiliary_file": b"a: b"})
        data, files = new_execution(schema)
        data["input_elements"]["platform_data"] = {
            "data_partners_patients": {"org-2": partner("p-1"), "org-3": partner("p-2")}
        }
        execution = created(caller, "/api/executions/", data, files)
        assert execution["url"].startswith(f"https://{served.api}/")
        url = f"{execution['url']}retrieve_data_partner_information/"
        assert caller.get(url, params={"data_partner": "org-2"}).json() == partner("p-1")
        answer = caller.get(url, params={"data_partner": "org-3"})
        assert answer.status_code == 403
        assert answer.json() == {"detail": "org-2 may not read what was sent for others"}
    with served.caller(token=served.token("org-1", HERE)) as caller:
        assert caller.get(url, params={"data_partner": "org-3"}).json() == partner("p-2")
    with served.caller(token=served.token("org-2", HERE)) as caller:
        assert caller.get(url, params={"data_partner": "org-3"}).status_code == 403
