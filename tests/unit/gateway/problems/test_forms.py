"""What bodies ask for: a member that is wrong is named, and nothing is guessed."""

import json
from typing import Any

import pytest

from orchestrator import protos as pb
from orchestrator.core.errors import NotFoundError
from orchestrator.gateway.problems import documents, forms, input_form
from orchestrator.gateway.problems.documents import FormError

EXAMPLE = {
    "problem_short_description": "poems",
    "modality": "nlp",
    "problem_definition": "write",
    "inputs": ["text"],
    "outputs": ["text"],
    "minimum_samples": 1,
    "maximum_samples": 3,
    "optimize_carbon_footprint_auto": False,
    "optimize_carbon_footprint_manual": False,
    "previous_iteration": 0,
    "desired_carbon_footprint": 0.5,
    "geo_location_continent": "Europe",
    "geo_location_region": "Spain",
    "extra_data": {
        "hardware_required": "PIM_AI_1chip",
        "max_memory_footprint": 100,
        "previous_problem_id": 0,
        "num_outputs": 1,
        "type": "Transformers",
    },
}


def extra(document: dict[str, Any]) -> Any:
    return json.loads(input_form.read(document).user_input.extra_data)


def test_all_members_of_the_example_are_read():
    new = input_form.read(EXAMPLE)
    assert (new.user_input.problem_short_description, list(new.user_input.inputs)) == ("poems", ["text"])
    assert (new.user_input.maximum_samples, new.user_input.desired_carbon_footprint) == (3, 0.5)
    assert new.given == {*EXAMPLE} - {"previous_iteration"}
    assert extra(EXAMPLE) == EXAMPLE["extra_data"]


def test_four_members_are_enough_and_null_is_absent():
    new = input_form.read({"modality": "nlp", "inputs": [""], "previous_iteration": None, "extra_data": None})
    assert (new.user_input.previous_iteration, list(new.user_input.inputs)) == (0, [""])
    assert new.given == {"modality", "inputs", "extra_data"}


def test_more_samples_at_least_than_at_most_are_what_a_front_end_sends():
    assert input_form.read({"minimum_samples": 9, "maximum_samples": 3}).user_input.minimum_samples == 9


def test_unknown_members_go_into_extra_data_unless_they_are_there():
    document = {"problem_type": "a", "model": "m", "extra_data": {"model": "mine"}, "task_id": {"problem_id": 3}}
    assert extra(document) == {"problem_type": "a", "model": "mine"}


@pytest.mark.parametrize(
    ("document", "family"),
    [
        ({"type": "T", "extra_data": {"model_family": "F", "type": "E"}}, "F"),
        ({"type": "T", "extra_data": {"type": "E"}}, "T"),
    ],
)
def test_the_family_is_its_own_else_the_type_beside(document: dict[str, Any], family: str):
    assert extra(document)["model_family"] == family


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("modality", 3),
        ("problem_definition", ["x"]),
        ("inputs", "text"),
        ("outputs", ["a", 1]),
        ("minimum_samples", -1),
        ("maximum_samples", 2**32),
        ("maximum_samples", 1.5),
        ("minimum_samples", True),
        ("minimum_samples", "1"),
        ("optimize_carbon_footprint_auto", 0),
        ("optimize_carbon_footprint_manual", "no"),
        ("desired_carbon_footprint", "0.5"),
        ("desired_carbon_footprint", True),
        ("desired_carbon_footprint", 10**400),
        ("geo_location_region", {}),
        ("previous_iteration", -2),
        ("previous_iteration", 2**31),
        ("previous_iteration", "1"),
        ("extra_data", "{}"),
        ("extra_data", []),
        ("type", 1),
    ],
)
def test_a_wrong_member_is_named(member: str, value: object):
    with pytest.raises(FormError, match=member):
        input_form.read({member: value})


@pytest.mark.parametrize("value", [0, -1, 1.5, "2", True, 10**12])
def test_the_number_of_outputs_is_a_whole_number_from_1_on(value: object):
    with pytest.raises(FormError, match=r"extra_data\.num_outputs"):
        input_form.read({"extra_data": {"num_outputs": value}})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_memory_footprint", -1),
        ("max_memory_footprint", 2**32),
        ("max_memory_footprint", "100"),
        ("previous_problem_id", -1),
        ("previous_problem_id", "1"),
        *((name, value) for name in ("hardware_required", "goal", "metric", "model_selected") for value in (5, ["a"])),
    ],
)
def test_what_modules_read_unseen_is_checked(name: str, value: object):
    with pytest.raises(FormError, match=rf"extra_data\.{name}"):
        input_form.read({"extra_data": {name: value}})


def test_a_whole_number_in_extra_data_is_kept_as_one():
    new = input_form.read({"extra_data": {"max_memory_footprint": 100.0, "model_restrains": "kept", "goal": None}})
    kept = new.user_input.extra_data
    assert json.loads(kept) == {"max_memory_footprint": 100, "model_restrains": "kept", "goal": None}
    assert b"100.0" not in kept


@pytest.mark.parametrize("value", [0, -3, "9"])
def test_a_time_limit_is_positive(value: object):
    with pytest.raises(FormError, match=r"extra_data\.time_limit"):
        input_form.read({"extra_data": {"time_limit": value}})


@pytest.mark.parametrize("value", [None, 0, "1", -1])
def test_an_iteration_says_of_which_problem_it_is(value: object):
    with pytest.raises(FormError, match=r"extra_data\.previous_problem_id"):
        input_form.read({"previous_iteration": -1, "extra_data": {"previous_problem_id": value}})


def test_an_integral_number_is_taken_for_a_double_and_a_whole_one():
    new = input_form.read({"desired_carbon_footprint": 1, "minimum_samples": 3.0})
    assert (new.user_input.desired_carbon_footprint, new.user_input.minimum_samples) == (1.0, 3)


def test_an_iteration_without_extra_data_inherits_it_and_takes_nothing_unknown():
    assert input_form.read({"modality": "nlp"}, iterates=True).given == {"modality"}
    with pytest.raises(FormError, match="modalty"):
        input_form.read({"modalty": "nlp"}, iterates=True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"a": NaN}', "a: nan"),
        (b'{"extra_data": {"b": [1, -Infinity]}}', r"extra_data\.b\.1"),
        (b'{"a": 1e999}', "a: inf"),
        (b'{"a": "\\ud800"}', "a: half of a surrogate"),
        (b'{"a": "\\u0000"}', "a: the NUL"),
        (b'{"\\ud800": 1}', "surrogate"),
        (b'{"a": "\xff"}', "no UTF-8"),
        (b"[]", "a list"),
        (b"3", "a number"),
        (b"null", "null"),
        (b'{"a": }', "no JSON"),
        (b"[" * 100_000, "too deep"),
        (b'{"a": ' + b"[" * 300 + b"]" * 300 + b"}", "nested more than"),
    ],
)
def test_what_is_no_object_of_json_is_told(body: bytes, words: str):
    with pytest.raises(FormError, match=words):
        documents.parse(body)


def test_no_body_is_an_empty_object():
    assert documents.parse(b" \n") == {} == documents.parse(b"{}")


@pytest.mark.parametrize("given", [{"problem_id": 0, "iteration_id": 0}, {"problem_id": 1, "iteration_id": 0}])
def test_an_invalid_task_is_not_found(given: dict[str, int]):
    with pytest.raises(NotFoundError):
        forms.task({"task_id": given})


@pytest.mark.parametrize("given", [3, [], {}, {"problem_id": 1}, {"problem_id": -1, "iteration_id": 1}])
def test_a_malformed_task_is_a_wrong_request(given: object):
    with pytest.raises(FormError, match="task_id"):
        forms.task({"task_id": given})


@pytest.mark.parametrize(
    ("document", "command"),
    [
        ({"cmd_node": "STOP_NODE", "target_node": "ML_MODEL"}, pb.Command(cmd_node=2, target_node="ML_MODEL")),
        ({"cmd_node": 2, "target_node": 5}, pb.Command(cmd_node=2, target_node="5")),
        ({"cmd_node": 1, "target_node": 9}, pb.Command(cmd_node=1, target_node="ALL")),
        (
            {"cmd_task": "RESET_TASK", "task_id": {"problem_id": 1, "iteration_id": 2}, "source_node": "me"},
            pb.Command(cmd_task=2, task_id=pb.TaskId(problem_id=1, iteration_id=2), source_node="me"),
        ),
    ],
)
def test_a_command_is_read_by_names_and_numbers(document: dict[str, Any], command: pb.Command):
    assert forms.command(document) == (command, None)


@pytest.mark.parametrize(
    ("document", "member"),
    [
        ({"cmd_node": "STOP"}, "cmd_node"),
        ({"cmd_node": 5}, "cmd_node"),
        ({"cmd_task": True}, "cmd_task"),
        ({"cmd_task": 1, "target_node": []}, "target_node"),
        ({"cmd_node": 1, "target_node": 10}, "target_node"),
        ({"cmd_node": 1, "command_id": "x"}, "command_id"),
    ],
)
def test_a_wrong_member_of_a_command_is_named(document: dict[str, Any], member: str):
    with pytest.raises(FormError, match=member):
        forms.command(document)


def test_where_a_list_goes_on_is_opaque_and_checked():
    assert forms.after({"after": forms.mark(3)}, int) == [3]
    assert forms.after({}, int) is None
    for wrong in ("3", "", "%", forms.mark("3"), forms.mark(1, 2)):
        with pytest.raises(FormError, match="after"):
            forms.after({"after": wrong}, int)


@pytest.mark.parametrize("given", ["0", "-1", "x", "1.5", "9" * 20])
def test_a_limit_is_a_whole_number(given: str):
    with pytest.raises(FormError, match="limit"):
        forms.limit({"limit": given})


def test_a_limit_has_a_default_and_a_most():
    assert (forms.limit({}), forms.limit({"limit": "7"}), forms.limit({"limit": "9999"})) == (50, 7, 500)
