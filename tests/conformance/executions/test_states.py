"""States: the table of reports, their bodies, and what many at once come to."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.kit.portal import Portal

MAKES = {"ai_model": True, "evaluation_metrics": True, "generic_file": True}
MADE = {
    "ai_model": {"ai_model": 11},
    "evaluation_metrics": [{"evaluation_metric": "21"}, {"evaluation_metric": 20}, {"evaluation_metric": 21}],
    "generic_file": {"generic_file": 31.0},
}
MAAS = "http://maas.example:8000/api"
SHOWN = {
    "ai_model": {"ai_model": f"{MAAS}/ai_models/11/"},
    "evaluation_metrics": [{"evaluation_metric": f"{MAAS}/evaluation_metrics/{each}/"} for each in (21, 20, 21)],
    "generic_file": {"generic_file": f"{MAAS}/generic_files/31/"},
}
BODIES = {"running": None, "failed": {"message": "it fell"}, "succeeded": MADE}
REPORTS = [*BODIES]
# Current state -> reported state -> status of the answer.
TABLE = {
    "pending": {"running": 200, "failed": 200, "succeeded": 200},
    "running": {"running": 200, "failed": 200, "succeeded": 200},
    "succeeded": {"running": 400, "failed": 400, "succeeded": 200},
    "failed": {"running": 400, "failed": 200, "succeeded": 400},
}


def brought(portal: Portal, state: str) -> dict[str, Any]:
    execution = portal.execution(portal.schema(outputs=MAKES))
    if state != "pending":
        answer = portal.report(execution, state, BODIES[state])
        assert answer.status_code == 200
        return answer.json()
    return execution


@pytest.mark.parametrize("current", TABLE)
@pytest.mark.parametrize("reported", REPORTS)
def test_the_table(portal: Portal, current: str, reported: str):
    before = brought(portal, current)
    body = {"message": "another"} if reported == "failed" else BODIES[reported]
    answer = portal.report(before, reported, body)
    assert answer.status_code == TABLE[current][reported]
    after = portal.get(before["url"]).json()
    if answer.status_code == 400:
        assert answer.json() == [f'no update possible, the current status is "{current}"']
        assert after == before
        return
    assert answer.json() == after
    if current == reported:
        assert after == before, "the first report stays"
    else:
        assert after["state"]["status"] == reported
        assert after["updated_at"] > before["updated_at"]
        assert after["created_at"] == before["created_at"]


def test_what_was_made_is_shown_in_the_order_sent(portal: Portal):
    assert brought(portal, "succeeded")["output_elements"] == SHOWN


def test_a_failure_has_a_message(portal: Portal):
    execution = brought(portal, "pending")
    for body, problem in (
        ({}, "This field is required."),
        ({"message": None}, "This field may not be null."),
        ({"message": "  "}, "This field may not be blank."),
        ({"message": {}}, "Not a valid string."),
    ):
        answer = portal.report(execution, "failed", body)
        assert (answer.status_code, answer.json()) == (400, {"message": [problem]})
    answer = portal.report(execution, "failed", {"message": " größe " * 1000})
    assert answer.json()["state"] == {"status": "failed", "message": (" größe " * 1000).strip()}


ONE = {"ai_model": {"ai_model": 1}}
WRONG: dict[str, tuple[dict[str, bool], Any, Any]] = {
    "no integer": (
        MAKES,
        {**MADE, "ai_model": {"ai_model": "x"}},
        {"ai_model": {"ai_model": ["A valid integer is required."]}},
    ),
    "missing in it": (
        MAKES,
        {**MADE, "generic_file": {}},
        {"generic_file": {"generic_file": ["This field is required."]}},
    ),
    "no metrics": (MAKES, {**MADE, "evaluation_metrics": []}, {"evaluation_metrics": ["This list may not be empty."]}),
    "a metric": (
        MAKES,
        {**MADE, "evaluation_metrics": [{"evaluation_metric": 1}, {}]},
        {"evaluation_metrics": {"1": {"evaluation_metric": ["This field is required."]}}},
    ),
    "should produce a model": ({"ai_model": True}, {}, ['schema "S" should produce an AI Model']),
    "does not produce a model": ({}, ONE, ['schema "S" does not produce an AI Model']),
    "should produce metrics": (
        {"evaluation_metrics": True},
        {},
        ['schema "S" should produce a list of Evaluation Metrics'],
    ),
    "does not produce metrics": (
        {},
        {"evaluation_metrics": [{"evaluation_metric": 1}]},
        ['schema "S" does not produce a list of Evaluation Metrics'],
    ),
    "should produce a file": ({"generic_file": True}, {}, ['schema "S" should produce a Generic File']),
    "the first of several": ({"generic_file": True}, ONE, ['schema "S" does not produce an AI Model']),
}


@pytest.mark.parametrize(("makes", "body", "problem"), WRONG.values(), ids=WRONG)
def test_a_success_tells_what_the_schema_makes(portal: Portal, makes: Any, body: Any, problem: Any):
    schema = portal.schema(outputs=makes)
    execution = portal.execution(schema)
    answer = portal.report(execution, "succeeded", body)
    expected = {"non_field_errors": problem} if isinstance(problem, list) else problem
    assert answer.status_code == 400
    assert answer.text.replace(schema["name"], "S") == json.dumps(expected)
    assert portal.get(execution["url"]).json() == execution
    assert portal.report(execution, "running").status_code == 200


def test_the_order_of_checks(portal: Portal):
    none = {"id": 10**9}
    assert portal.report(none, "failed", {}).status_code == 400, "body, then 404"
    assert portal.report(none, "failed", {"message": "m"}).status_code == 404
    assert portal.report(none, "succeeded", {"ai_model": "x"}).status_code == 404, "404, then body"
    assert portal.report(none, "succeeded", "no json").status_code == 404
    failed = brought(portal, "failed")
    answer = portal.report(failed, "succeeded", {"ai_model": {"ai_model": "x"}})
    assert "no update possible" not in answer.text, "a body is validated even when the state decides"


def test_a_running_report_never_looks_at_its_body(portal: Portal):
    execution = brought(portal, "pending")
    path = f"/api/executions/{execution['id']}/update_to_running/"
    for headers, content in (
        ({}, b""),
        ({"Content-Type": "application/json"}, b"{"),
        ({"Content-Type": "multipart/form-data"}, b"garbage"),
        ({"Content-Type": "text/plain"}, b"\xff\xfe"),
        ({}, b"x" * 100_000),
    ):
        answer = portal.http.patch(path, content=content, headers=headers)
        assert (answer.status_code, answer.json()["state"]) == (200, {"status": "running"})


def test_of_many_that_report_at_once_one_wins_and_the_others_get_their_row(portal: Portal):
    for _ in range(3):
        execution = brought(portal, "running")
        reports = ["succeeded", "failed"] * 4

        def report(state: str, execution: dict[str, Any] = execution) -> tuple[str, int]:
            return state, portal.report(execution, state, BODIES[state]).status_code

        with ThreadPoolExecutor(len(reports)) as threads:
            answers = list(threads.map(report, reports))
        state = portal.get(execution["url"]).json()
        won = state["state"]["status"]
        assert {code for name, code in answers if name == won} == {200}
        assert {code for name, code in answers if name != won} == {400}
        if won == "succeeded":
            assert state["output_elements"] == SHOWN, "the metrics once"


def test_of_many_that_delete_or_create_at_once_one_does(portal: Portal):
    execution, schema = brought(portal, "pending"), portal.schema()
    with ThreadPoolExecutor(6) as threads:
        codes = list(threads.map(lambda _: portal.http.delete(execution["url"]).status_code, range(6)))
    assert sorted(codes) == [204, *[404] * 5]
    portal.http.delete(schema["url"])
    data = {name: value for name, value in schema.items() if name not in ("url", "created_at", "auxiliary_file")}
    before = portal.kept()
    send = lambda _: portal.send("POST", "/api/schemas/", data, {"auxiliary_file": b"x"}).status_code  # noqa: E731
    with ThreadPoolExecutor(6) as threads:
        codes = list(threads.map(send, range(6)))
    assert sorted(codes) == [201, *[400] * 5]
    assert len(portal.kept() - before) == 1
