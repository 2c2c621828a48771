"""Executions: what is stored, what is refused and in which words, what is shown, what is deleted."""

import json
import re
from typing import Any

import pytest

from tests.kit.portal import PARTNERS, Portal, new_execution, new_schema, partner

ALL = {"platform_data": True, "external_data": True, "report_metadata": True}
MODEL = {"ai_model": True}
ENGINE = new_schema()["ai_elements"]["ai_engines"][0]


def create(portal: Portal, schema: dict[str, Any], files: dict[str, bytes] | None = None, **changes: Any):
    data, given = new_execution(schema, **changes)
    return portal.send("POST", "/api/executions/", data, given if files is None else files)


def test_an_execution_is_stored_and_shown(portal: Portal):
    schema = portal.schema(
        inputs=ALL,
        outputs=MODEL,
        engines=[ENGINE, {**ENGINE, "descriptor": "second größe", "ai_model": True}],
    )
    answer = create(portal, schema)
    shown = answer.json()
    url = f"http://{portal.host}/api/executions/{shown['id']}/"
    assert (answer.status_code, answer.headers["location"]) == (201, url)
    assert shown["created_at"] <= shown["updated_at"]
    del shown["created_at"], shown["updated_at"]
    second = "second%20gr%C3%B6%C3%9Fe"
    assert shown == {
        "url": url,
        "id": shown["id"],
        "schema": schema["url"],
        "state": {"status": "pending"},
        "input_elements": {
            "platform_data": {"data_partners_patients": {"data-partner-1": ["data-partner-1 p", "p-2"]}},
            "external_data": {"contents": f"{url}download_external_data/"},
            "report_metadata": f"{url}download_report_metadata/",
        },
        "ai_elements": {
            "ai_engines": [
                {
                    "descriptor": "main-ai-engine",
                    "version": "http://maas.example:8000/api/ai_engines_versions/4/",
                    "version_user_vars": f"{url}download_user_vars/?descriptor=main-ai-engine",
                },
                {
                    "descriptor": "second größe",
                    "version": "http://maas.example:8000/api/ai_engines_versions/5/",
                    "version_user_vars": f"{url}download_user_vars/?descriptor={second}",
                    "ai_model": "http://maas.example:8000/api/ai_models/9/",
                },
            ]
        },
        "output_elements": {"ai_model": {"name": "m", "description": "d", "merge_type": None}},
    }
    assert portal.get(f"{url}download_external_data/").content == b"external_data of a patient"
    assert portal.get(shown["ai_elements"]["ai_engines"][1]["version_user_vars"]).content == b'{"epochs": 3}'


def test_ids_are_one_more_each_time_though_something_is_refused_between(portal: Portal):
    schema = portal.schema()
    first = portal.execution(schema)["id"]
    assert create(portal, schema, {}).status_code == 400
    assert portal.send("POST", "/api/executions/", {"schema": "none"}).status_code == 400
    assert portal.execution(schema)["id"] == first + 1


def test_a_federated_execution(portal: Portal):
    schema = portal.schema(inputs={"platform_data": True, "federated_learning_configuration": True})
    shown = portal.execution(schema)
    assert shown["input_elements"]["federated_learning_configuration"] == {"number_iterations": 2}
    assert list(shown["input_elements"]["platform_data"]["data_partners_patients"]) == list(PARTNERS[:2])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({}, '"schema" not provided'),
        (None, '"schema" not provided'),
        ({"schema": "größe"}, '"größe" does not exist'),
        ({"schema": None}, '"None" does not exist'),
        ({"schema": [1]}, '"[1]" does not exist'),
        ({"schema": "\x00"}, '"\x00" does not exist'),
    ],
)
def test_the_schema_is_looked_for_first(portal: Portal, data: Any, text: str):
    answer = portal.send("POST", "/api/executions/", data, {"other": b"x"})
    assert (answer.status_code, answer.json()) == (400, [text])


REQUIRED = ["This field is required."]


def of_input(*texts: str) -> dict[str, Any]:
    return {"input_elements": {"non_field_errors": list(texts)}}


def of_partner(name: str, text: str) -> dict[str, Any]:
    return {"input_elements": {"platform_data": {"data_partners_patients": {name: [text]}}}}


def patients(**partners: Any) -> dict[str, Any]:
    return {
        "platform_data": {"data_partners_patients": {name.replace("_", "-"): value for name, value in partners.items()}}
    }


ONE = PARTNERS[0]
GOOD = partner("p")
INPUTS: dict[str, tuple[dict[str, bool], Any, dict[str, bytes], Any]] = {
    "platform data missing": ({"platform_data": True}, {}, {}, of_input('schema "S" requires platform data')),
    "platform data superfluous": (
        {},
        patients(data_partner_1=GOOD),
        {},
        of_input('schema "S" does not require platform data'),
    ),
    "no partners": (
        {"platform_data": True},
        {"platform_data": {}},
        {},
        {"input_elements": {"platform_data": {"data_partners_patients": REQUIRED}}},
    ),
    "empty partners": (
        {"platform_data": True},
        {"platform_data": {"data_partners_patients": {}}},
        {},
        {"input_elements": {"platform_data": {"data_partners_patients": ["This dictionary may not be empty."]}}},
    ),
    "partners are a list": (
        {"platform_data": True},
        {"platform_data": {"data_partners_patients": []}},
        {},
        {
            "input_elements": {
                "platform_data": {
                    "data_partners_patients": ['Expected a dictionary of items but got type "list".'],
                }
            }
        },
    ),
    "two partners": (
        {"platform_data": True},
        patients(data_partner_1=GOOD, data_partner_2=GOOD),
        {},
        of_input("The data partners patients must contain only one element outside of the federated scenario"),
    ),
    "one partner, federated": (
        {"platform_data": True, "federated_learning_configuration": True},
        {**patients(data_partner_1=GOOD), "federated_learning_configuration": {"number_iterations": "3"}},
        {},
        of_input("The data partners patients must contain more than one element in the federated scenario"),
    ),
    "federated missing": (
        {"federated_learning_configuration": True},
        {},
        {},
        of_input('schema "S" requires a federated learning configuration'),
    ),
    "federated superfluous": (
        {},
        {"federated_learning_configuration": {"number_iterations": 1}},
        {},
        of_input('schema "S" does not require a federated learning configuration'),
    ),
    "iterations": (
        {"federated_learning_configuration": True},
        {"federated_learning_configuration": {"number_iterations": 2.5}},
        {},
        {
            "input_elements": {
                "federated_learning_configuration": {"number_iterations": ["A valid integer is required."]}
            }
        },
    ),
    "external data missing": (
        {"external_data": True},
        {"external_data": {"ignored": 1}},
        {},
        of_input("the request should include a file with key external_data"),
    ),
    "external data empty": (
        {"external_data": True},
        {},
        {"external_data": b""},
        of_input("The submitted file is empty."),
    ),
    "report metadata missing": (
        {"report_metadata": True},
        {},
        {},
        of_input("the request should include a file with key report_metadata"),
    ),
    "partner null": ({"platform_data": True}, patients(data_partner_1=None), {}, of_partner(ONE, '"None" is null.')),
    "partner no dict": (
        {"platform_data": True},
        patients(data_partner_1=[]),
        {},
        of_partner(ONE, '"[]" is not a dict.'),
    ),
    "partner without a field": (
        {"platform_data": True},
        patients(data_partner_1={}),
        {},
        of_partner(ONE, "it does not contain the field system_path."),
    ),
    "patients no list": (
        {"platform_data": True},
        patients(data_partner_1={**GOOD, "patients": {}}),
        {},
        of_partner(ONE, '"{}" is not a list.'),
    ),
    "no patients": (
        {"platform_data": True},
        patients(data_partner_1={**GOOD, "patients": []}),
        {},
        of_partner(ONE, "the list of patients is empty."),
    ),
    "a patient without id": (
        {"platform_data": True},
        patients(data_partner_1={**GOOD, "patients": [{"clinical_data": 1}]}),
        {},
        of_partner(ONE, "there are patients without the field id."),
    ),
    "a patient without data": (
        {"platform_data": True},
        patients(data_partner_1={**GOOD, "patients": [{"id": 1}]}),
        {},
        of_partner(ONE, "there are patients without the field clinical_data."),
    ),
    "patients twice": (
        {"platform_data": True},
        patients(data_partner_1=partner("p", "p")),
        {},
        of_partner(ONE, "the list of patients contains duplicates."),
    ),
}


@pytest.mark.parametrize(("takes", "inputs", "files", "problems"), INPUTS.values(), ids=INPUTS)
def test_wrong_inputs_are_told_in_the_known_words(portal: Portal, takes: Any, inputs: Any, files: Any, problems: Any):
    schema = portal.schema(inputs=takes)
    before = portal.kept()
    given = {"main-ai-engine_version_user_vars": b"{}", **files}
    answer = create(portal, schema, given, input_elements=inputs)
    assert answer.status_code == 400
    assert json.loads(answer.text.replace(schema["name"], "S")) == problems
    assert portal.kept() == before


@pytest.mark.parametrize("ids", [[{"no": "id"}], [None], [True], [["a"]], [1.5, 1.5], ["ok", 7, "7"]])
def test_an_id_of_a_patient_is_a_text_or_a_number(portal: Portal, ids: list[Any]):
    schema = portal.schema(inputs={"platform_data": True})
    answer = create(portal, schema, input_elements=patients(data_partner_1=partner(*ids)))
    if ids == ["ok", 7, "7"]:
        assert answer.json()["input_elements"]["platform_data"]["data_partners_patients"][ONE] == ids
    else:
        assert answer.status_code == 400
        (text,) = answer.json()["input_elements"]["platform_data"]["data_partners_patients"][ONE]
        assert "patients" in text


def test_a_partner_that_is_none_is_told_with_those_that_are(portal: Portal):
    answer = create(portal, portal.schema(inputs={"platform_data": True}), input_elements=patients(zzz=GOOD))
    (text,) = answer.json()["input_elements"]["platform_data"]["data_partners_patients"]["zzz"]
    assert re.fullmatch(r'"zzz" is not a valid choice\. Possible values: \[.*\]', text)
    assert all(repr(name) in text for name in PARTNERS)


def engine(**changes: Any) -> dict[str, Any]:
    return {"descriptor": "main-ai-engine", "version": 4, **changes}


ENGINES: dict[str, tuple[bool, Any, Any]] = {
    "unknown": (False, [engine(descriptor="zz")], [{"descriptor": ['"zz" does not appear in schema']}]),
    "version": (False, [engine(version="x")], [{"version": ["A valid integer is required."]}]),
    "a model is needed": (
        True,
        [engine()],
        [{"non_field_errors": ['AI Engine "main-ai-engine" requires an AI Model']}],
    ),
    "a model is not needed": (
        False,
        [engine(ai_model=1)],
        [{"non_field_errors": ['AI Engine "main-ai-engine" does not require an AI Model']}],
    ),
    "twice": (False, [engine(), engine()], {"non_field_errors": ["there are repeated AI Engines"]}),
    "none": (False, [], {"non_field_errors": ['"main-ai-engine" ai engine has not been provided']}),
    "no list": (False, {}, {"ai_engines": {"non_field_errors": ['Expected a list of items but got type "dict".']}}),
    "no object": (
        False,
        ["x"],
        [{"non_field_errors": ["Invalid data. Expected a dictionary, but got str."]}],
    ),
}


@pytest.mark.parametrize(("model", "engines", "problems"), ENGINES.values(), ids=ENGINES)
def test_wrong_engines_are_told_in_the_known_words(portal: Portal, model: bool, engines: Any, problems: Any):
    schema = portal.schema(engines=[{**ENGINE, "ai_model": model}])
    answer = create(portal, schema, ai_elements={"ai_engines": engines})
    expected = {"ai_engines": problems} if isinstance(problems, list) else problems
    assert (answer.status_code, answer.json()) == (400, {"ai_elements": expected})


def test_the_variables_of_an_engine_are_needed(portal: Portal):
    answer = create(portal, portal.schema(), {"other": b""})
    text = "the request should include a file with key main-ai-engine_version_user_vars"
    assert answer.json() == {"ai_elements": {"ai_engines": [{"non_field_errors": [text]}]}}


def test_an_output_model_is_named_where_the_schema_makes_one(portal: Portal):
    plain, makes = portal.schema(), portal.schema(outputs=MODEL)
    name = {"name": "m", "description": "d"}
    answer = create(portal, plain, output_elements={"ai_model": name})
    text = f'schema "{plain["name"]}" does not require an output element AI Model'
    assert answer.json() == {"output_elements": {"non_field_errors": [text]}}
    answer = create(portal, makes, output_elements={})
    text = f'schema "{makes["name"]}" requires an output element AI Model'
    assert answer.json() == {"output_elements": {"non_field_errors": [text]}}
    answer = create(portal, makes, output_elements={"ai_model": {**name, "merge_type": None}})
    assert answer.json() == {"output_elements": {"ai_model": {"merge_type": ["This field may not be null."]}}}
    answer = create(portal, makes, output_elements={"ai_model": {**name, "name": "{{workflow.name}}"}})
    assert list(answer.json()["output_elements"]["ai_model"]) == ["name"]
    shown = create(portal, makes, output_elements={"ai_model": {**name, "merge_type": "default"}}).json()
    assert shown["output_elements"]["ai_model"]["merge_type"] == "default"


def test_all_three_elements_are_needed_and_told_together(portal: Portal):
    schema = portal.schema()
    answer = portal.send("POST", "/api/executions/", {"schema": schema["name"]})
    assert answer.json() == dict.fromkeys(("input_elements", "ai_elements", "output_elements"), REQUIRED)


def test_what_was_sent_of_a_partner_is_shown_as_it_was(portal: Portal):
    schema = portal.schema(inputs={"platform_data": True})
    shown = portal.execution(schema)
    path = f"/api/executions/{shown['id']}/retrieve_data_partner_information/"
    answer = portal.get(path, params={"data_partner": ONE})
    assert answer.json() == partner(f"{ONE} p", "p-2")
    assert "größe".encode() in answer.content
    for id_ in (shown["id"], 10**9):
        answer = portal.get(f"/api/executions/{id_}/retrieve_data_partner_information/")
        assert (answer.status_code, answer.json()) == (400, ["data_partner query parameter is missing"])
    for name in ("P", "\0"):
        answer = portal.get(path, params={"data_partner": name})
        assert (answer.status_code, answer.json()) == (400, [f"data_partner {name} is not taken part in the execution"])
    other = portal.execution(portal.schema())
    answer = portal.get(f"/api/executions/{other['id']}/retrieve_data_partner_information/?data_partner=P")
    name = other["schema"].rstrip("/").rpartition("/")[2].replace("%20", " ")
    assert answer.json() == [f'"{name}" does not require data from data partners']


@pytest.mark.parametrize("id_", ["0", "-1", "x", "1.0", "99999999", "9" * 19, "9" * 30, "٣", "%00"])
def test_an_id_that_is_none_is_not_found(portal: Portal, id_: str):
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "download_external_data/"),
        ("PATCH", "update_to_running/"),
        ("PATCH", "update_to_succeeded/"),
    ):
        answer = portal.http.request(method, f"/api/executions/{id_}/{path}")
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."})


def test_an_execution_is_deleted_in_any_state_with_its_files(portal: Portal):
    schema = portal.schema(inputs=ALL)
    before = portal.kept()
    for state in ("pending", "running", "failed"):
        execution = portal.execution(schema)
        if state != "pending":
            assert portal.report(execution, state, {"message": "m"}).status_code == 200
        assert len(portal.kept() - before) == 3
        answer = portal.http.delete(execution["url"])
        assert (answer.status_code, answer.content) == (204, b"")
        assert portal.http.delete(execution["url"]).status_code == 404
    assert portal.kept() == before


def test_a_debug_execution_is_like_others(portal: Portal):
    data, files = new_execution(portal.schema(implementation="argo_workflows"))
    answer = portal.send("POST", "/api/executions/?debug=true", data, files)
    assert (answer.status_code, answer.json()["state"]) == (201, {"status": "pending"})
    assert portal.http.delete(answer.json()["url"]).status_code == 204
