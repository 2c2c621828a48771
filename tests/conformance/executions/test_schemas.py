"""Schemas: what is stored, what is refused and in which words."""

import json
import re
from urllib.parse import quote

import pytest

from tests.kit.portal import Portal, new_schema

FILE = {"auxiliary_file": b"no workflow, and nobody looks"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+0[12]:00")


def post(portal: Portal, data: object, files: dict[str, bytes] | None = None):
    return portal.send("POST", "/api/schemas/", data, FILE if files is None else files)


def test_a_schema_is_stored_and_shown(portal: Portal):
    sent = new_schema(name="  Größe tumour  ", inputs={"external_data": "yes"}, outputs={"generic_file": 1})
    answer = post(portal, sent)
    shown = answer.json()
    url = f"http://{portal.host}/api/schemas/{quote('Größe tumour')}/"
    assert (answer.status_code, answer.headers["location"], shown["url"]) == (201, url, url)
    assert TIME.fullmatch(shown.pop("created_at"))
    assert shown == {
        "url": url,
        "name": "Größe tumour",
        "type": "individual",
        "implementation": "dummy",
        "description": "Takes nothing",
        "auxiliary_file": f"{url}download_auxiliary_file/",
        "input_elements": {
            "platform_data": False,
            "external_data": True,
            "report_metadata": False,
            "federated_learning_configuration": False,
        },
        "ai_elements": {
            "ai_engines": [
                {
                    "descriptor": "main-ai-engine",
                    "role_type": "*",
                    "functionalities": ["training_from_scratch"],
                    "ai_model": False,
                }
            ]
        },
        "output_elements": {"ai_model": False, "evaluation_metrics": False, "generic_file": True},
    }
    assert "Größe".encode() in answer.content, "text is itself"
    assert portal.get(url).json() == {**shown, "created_at": answer.json()["created_at"]}
    assert portal.get(f"{url}download_auxiliary_file/").content == FILE["auxiliary_file"]


def test_a_name_is_taken_once_also_by_many_at_once(portal: Portal):
    sent = new_schema()
    assert post(portal, sent).status_code == 201
    before = portal.kept()
    answer = post(portal, {**sent, "type": "weird"})
    assert answer.status_code == 400
    assert answer.json() == {
        "name": ["schema with this name already exists."],
        "type": ['"weird" is not a valid choice.'],
    }
    assert portal.kept() == before, "no file is left of what was refused"


REQUIRED = ["This field is required."]


def test_every_missing_field_is_told_at_once(portal: Portal):
    top = ("name", "type", "implementation", "description", "input_elements", "ai_elements", "output_elements")
    answer = portal.send("POST", "/api/schemas/", {}, {"other": b"x"})
    assert answer.status_code == 400
    assert answer.json() == dict.fromkeys(top, REQUIRED) | {"auxiliary_file": ["No file was submitted."]}
    answer = post(portal, {**new_schema(), "input_elements": {}, "ai_elements": {}, "output_elements": {}})
    assert answer.json() == {
        "input_elements": dict.fromkeys(
            ("platform_data", "external_data", "federated_learning_configuration"), REQUIRED
        ),
        "ai_elements": {"ai_engines": REQUIRED},
        "output_elements": dict.fromkeys(("ai_model", "evaluation_metrics", "generic_file"), REQUIRED),
    }


ENGINE = new_schema()["ai_elements"]["ai_engines"][0]
WRONG = {
    "null": ({"name": None}, {"name": ["This field may not be null."]}),
    "blank": ({"name": " \t "}, {"name": ["This field may not be blank."]}),
    "no text": ({"description": ["x"]}, {"description": ["Not a valid string."]}),
    "a boolean is no text": ({"description": True}, {"description": ["Not a valid string."]}),
    "too long": ({"name": "x" * 101}, {"name": ["Ensure this field has no more than 100 characters."]}),
    "choice": ({"implementation": "cron"}, {"implementation": ['"cron" is not a valid choice.']}),
    "no object": (
        {"input_elements": [1]},
        {"input_elements": {"non_field_errors": ["Invalid data. Expected a dictionary, but got list."]}},
    ),
    "no list of engines": (
        {"ai_elements": {"ai_engines": "x"}},
        {"ai_elements": {"ai_engines": {"non_field_errors": ['Expected a list of items but got type "str".']}}},
    ),
    "an engine": (
        {"engines": [ENGINE, {**ENGINE, "descriptor": "b", "functionalities": ["zzz"], "role_type": None}]},
        {
            "ai_elements": {
                "ai_engines": [
                    {},
                    {
                        "role_type": ["This field may not be null."],
                        "functionalities": {"0": ['"zzz" is not a valid choice.']},
                    },
                ]
            }
        },
    ),
    "no functionalities": (
        {"engines": [{**ENGINE, "functionalities": []}]},
        {"ai_elements": {"ai_engines": [{"functionalities": ["This list may not be empty."]}]}},
    ),
    "functionalities are a list": (
        {"engines": [{**ENGINE, "functionalities": {"a": 1}}]},
        {"ai_elements": {"ai_engines": [{"functionalities": ['Expected a list of items but got type "dict".']}]}},
    ),
    "no boolean": ({"outputs": {"ai_model": "ja"}}, {"output_elements": {"ai_model": ["Must be a valid boolean."]}}),
    "report_metadata null": (
        {"inputs": {"report_metadata": None}},
        {"input_elements": {"report_metadata": ["This field may not be null."]}},
    ),
}


@pytest.mark.parametrize(("changes", "problems"), WRONG.values(), ids=WRONG)
def test_a_wrong_field_is_told_in_the_known_words(portal: Portal, changes: dict, problems: dict):
    before = portal.kept()
    answer = post(portal, new_schema(**changes))
    assert (answer.status_code, answer.json()) == (400, problems)
    assert portal.kept() == before


@pytest.mark.parametrize("name", ["a/b", "a.b", ".", "a\x00b", "a\x07b", "a\\u0000"])
def test_a_name_that_would_poison_paths_is_refused(portal: Portal, name: str):
    answer = post(portal, new_schema(name=name))
    if name == "a\\u0000":
        assert answer.status_code == 201, "it is plain text"
        return
    assert (answer.status_code, list(answer.json())) == (400, ["name"])
    assert portal.get("/api/schemas/").status_code == 200


@pytest.mark.parametrize(
    "descriptors", [("a", "a"), ("a/b",), ("a\\b",), ("a\x01",), ("x", "x-container"), ("x-container", "a", "x")]
)
def test_a_descriptor_must_fit_into_a_part_and_a_parameter(portal: Portal, descriptors: tuple[str, ...]):
    answer = post(portal, new_schema(engines=[{**ENGINE, "descriptor": each} for each in descriptors]))
    assert answer.status_code == 400
    assert list(answer.json()["ai_elements"]["ai_engines"][-1]) == ["descriptor"]


def test_the_file_is_needed_and_must_be_one(portal: Portal):
    assert post(portal, new_schema(), {"other": b""}).json() == {"auxiliary_file": ["No file was submitted."]}
    empty = post(portal, new_schema(), {"auxiliary_file": b""})
    assert empty.json() == {"auxiliary_file": ["The submitted file is empty."]}
    text = post(portal, {**new_schema(), "auxiliary_file": "text"}, {"other": b"x"})
    words = "The submitted data was not a file. Check the encoding type on the form."
    assert text.json() == {"auxiliary_file": [words]}
    long = portal.http.post(
        "/api/schemas/",
        files=[("data", (None, json.dumps(new_schema()))), ("auxiliary_file", ("x" * 301, b"x"))],
    )
    assert (long.status_code, list(long.json())) == (400, ["auxiliary_file"])


def test_a_schema_is_deleted_with_its_executions_and_their_files(portal: Portal):
    before = portal.kept()
    schema = portal.schema(inputs={"external_data": True})
    other = portal.schema()
    executions = [portal.execution(schema) for _ in range(2)]
    spared = portal.execution(other)
    answer = portal.http.delete(schema["url"])
    assert (answer.status_code, answer.content) == (204, b"")
    assert portal.http.delete(schema["url"]).status_code == 404
    assert [portal.get(each["url"]).status_code for each in executions] == [404, 404]
    assert portal.get(spared["url"]).status_code == 200
    assert portal.http.delete(other["url"]).status_code == 204
    assert portal.kept() == before


def test_what_is_not_there_is_not_found(portal: Portal):
    for path in ("/api/schemas/none/", "/api/schemas/none/download_auxiliary_file/", "/api/nothing/"):
        answer = portal.get(path)
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not found."})
