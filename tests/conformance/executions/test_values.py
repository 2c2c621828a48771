"""What is taken for a text, a number and a truth; and what is ignored."""

import json
from typing import Any

import pytest

from tests.kit.portal import Portal, new_execution, new_schema

FEDERATED = {"platform_data": True, "federated_learning_configuration": True}


def stored(portal: Portal, new: dict[str, Any]) -> Any:
    return portal.send("POST", "/api/schemas/", new, {"auxiliary_file": b"x"})


TRUE = [True, 1, *("t", "T", "true", "TRUE", "True", "y", "Y", "yes", "YES", "Yes", "on", "ON", "On", "1")]
FALSE = [False, 0, *("f", "F", "false", "FALSE", "False", "n", "N", "no", "NO", "No", "off", "OFF", "Off", "0")]


def test_truths(portal: Portal):
    for value, given in ((True, TRUE), (False, FALSE)):
        for each in given:
            answer = stored(portal, new_schema(outputs={"generic_file": each}))
            assert answer.status_code == 201, (each, answer.text)
            assert answer.json()["output_elements"]["generic_file"] is value
    for each in ("tRUE", "ja", "", 2, 0.5, [], {}):
        answer = stored(portal, new_schema(outputs={"generic_file": each}))
        assert answer.json() == {"output_elements": {"generic_file": ["Must be a valid boolean."]}}, each


@pytest.mark.parametrize(("given", "text"), [("  x y\t", "x y"), (5, "5"), (2.5, "2.5"), ("5", "5")])
def test_texts(portal: Portal, given: Any, text: str):
    answer = stored(portal, new_schema(description=given))
    assert answer.json()["description"] == text


@pytest.mark.parametrize("given", [True, ["x"], {"a": 1}])
def test_what_is_no_text(portal: Portal, given: Any):
    assert stored(portal, new_schema(description=given)).json() == {"description": ["Not a valid string."]}


@pytest.fixture(scope="module")
def federated(portal: Portal) -> dict[str, Any]:
    return portal.schema(inputs=FEDERATED)


@pytest.mark.parametrize(("given", "number"), [(3, 3), ("3", 3), (2.0, 2), (" 4 ", 4)])
def test_integers(portal: Portal, federated: dict[str, Any], given: Any, number: int):
    data, files = new_execution(federated)
    data["input_elements"]["federated_learning_configuration"]["number_iterations"] = given
    made = portal.send("POST", "/api/executions/", data, files).json()
    assert made["input_elements"]["federated_learning_configuration"] == {"number_iterations": number}


@pytest.mark.parametrize("given", [2.5, True, "x", "", "2.5", [1]])
def test_what_is_no_integer(portal: Portal, federated: dict[str, Any], given: Any):
    data, files = new_execution(federated)
    data["input_elements"]["federated_learning_configuration"]["number_iterations"] = given
    answer = portal.send("POST", "/api/executions/", data, files)
    problem = {"federated_learning_configuration": {"number_iterations": ["A valid integer is required."]}}
    assert (answer.status_code, answer.json()) == (400, {"input_elements": problem})


def test_unknown_keys_are_ignored_at_every_level(portal: Portal):
    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {"zzz": {"any": ["thing"]}, **{key: filled(each) for key, each in value.items()}}
        return [filled(each) for each in value] if isinstance(value, list) else value

    new = new_schema(inputs={"external_data": True}, outputs={"ai_model": True})
    schema = stored(portal, filled(new))
    assert schema.status_code == 201, schema.text
    assert "zzz" not in schema.text
    data, files = new_execution(schema.json())
    made = portal.send("POST", "/api/executions/", filled(data), files)
    assert made.status_code == 201, made.text
    assert "zzz" not in made.text
    succeeded = portal.report(made.json(), "succeeded", filled({"ai_model": {"ai_model": 11}}))
    assert succeeded.status_code == 200, succeeded.text
    assert "zzz" not in succeeded.text


@pytest.mark.parametrize(("length", "status"), [(300, 201), (301, 400)])
def test_a_file_has_a_name_of_up_to_300_characters(portal: Portal, length: int, status: int):
    parts: dict[str, Any] = {"data": (None, json.dumps(new_schema()))}
    parts["auxiliary_file"] = ("ä" * (length - 5) + ".yaml", b"x")
    answer = portal.http.post("/api/schemas/", files=parts)
    assert answer.status_code == status, answer.text
