"""Results as front ends read them, also of what ended without success."""

import json
from typing import Any

import pytest

from orchestrator import protos as pb
from orchestrator.gateway.problems import plain, results
from orchestrator.gateway.problems.made import Made
from orchestrator.problems import graph

APP, CARBON, CONSTRAINTS, RESOURCES, METADATA, MODEL = range(6)
TASK = {"problem_id": 1, "iteration_id": 2}


def iteration(states: dict[int, int] | None = None, **more: Any) -> pb.Iteration:
    """One whose stages have succeeded, but for some."""
    made = pb.Iteration(task_id=pb.TaskId(**TASK), **more)
    for kind in graph.KINDS:
        made.stages.add(kind=kind, state=(states or {}).get(kind, pb.STAGE_SUCCEEDED))
    return made


def shown(node: int, output: Any, raw_size: int = 0) -> Any:
    answer = results.result(iteration(), node, Made({node: output}, raw_size))
    (found,) = answer.values()
    assert list(answer) == [graph.KINDS[node].name]
    assert (found["status"], found["error"], found["warning"]) == ("SUCCEEDED", None, None)
    assert found["task_id"] == TASK
    return {name: value for name, value in found.items() if name not in ("status", "error", "warning", "task_id")}


def test_lists_are_joined_and_stand_beside_as_lists():
    assert shown(APP, pb.AppRequirements(app_requirements=["a", "b, c"])) == {
        "app_requirements": "a, b, c",
        "app_requirements_list": ["a", "b, c"],
        "extra_data": None,
    }
    assert shown(METADATA, pb.MLModelMetadata(keywords=["k"], ml_model_metadata=["g", "h"], extra_data=b"{}")) == {
        "keywords": "k",
        "keywords_list": ["k"],
        "metadata": "g, h",
        "metadata_list": ["g", "h"],
        "extra_data": {},
    }


def test_a_model_says_how_many_bytes_it_has():
    output = pb.MLModel(model="m", model_path="p", input_batch=["a", "b"], target_latency=1.5)
    assert shown(MODEL, output, 7) == {
        "model": "m",
        "model_path": "p",
        "model_properties": "",
        "model_properties_path": "",
        "input_batch": "a, b",
        "input_batch_list": ["a", "b"],
        "target_latency": 1.5,
        "extra_data": None,
        "raw_model_size": 7,
    }


def test_numbers_that_json_lacks_are_null():
    output = pb.CO2Footprint(carbon_footprint=float("nan"), energy_consumption=float("inf"), carbon_intensity=1)
    found = shown(CARBON, output)
    assert found == {"carbon_footprint": None, "energy_consumption": None, "carbon_intensity": 1.0, "extra_data": {}}
    assert plain.body(found)
    output.extra_data = b'{"a": [NaN, -Infinity, 1.5]}'
    assert shown(CARBON, output)["extra_data"] == {"a": [None, None, 1.5]}


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[1]", b"", b'{"a":' + b"[" * 100_000])
def test_extra_data_that_is_no_object_is_null(content: bytes):
    assert shown(RESOURCES, pb.HWResource(extra_data=content))["extra_data"] is None


def test_half_a_surrogate_pair_is_shown_as_what_stands_for_it():
    output = pb.HWResource(extra_data=b'{"a\\ud800": ["\\udc00", "\\ud83d\\ude00", "\xc3\xa9"]}')
    found = shown(RESOURCES, output)["extra_data"]
    assert found == {"a\ufffd": ["\ufffd", "\U0001f600", "é"]}
    assert plain.body(found)


def test_the_user_input_has_its_13_members_and_joined_lists():
    given = iteration(
        user_input=pb.UserInput(inputs=["a", "b"], outputs=["c"], extra_data=json.dumps({"x": 1}).encode()),
        state=pb.STAGE_RUNNING,
    )
    found = results.user_input(given)["ORCHESTRATOR"]
    assert (found["inputs"], found["inputs_list"], found["outputs"]) == ("a b", ["a", "b"], "c")
    names = {field.name for field in pb.UserInput.DESCRIPTOR.fields}
    assert {*found} == names | {"inputs_list", "outputs_list", "status", "error", "warning"}
    assert (found["status"], found["extra_data"], found["task_id"]) == ("RUNNING", {"x": 1}, TASK)


def test_the_carbon_footprint_names_the_next_task():
    given = iteration(next_task_id=pb.TaskId(problem_id=1, iteration_id=3))
    found = results.result(given, CARBON, Made({CARBON: pb.CO2Footprint()}))
    assert found["CARBON_FOOTPRINT"]["next_task_id"] == {"problem_id": 1, "iteration_id": 3}


def test_what_failed_is_blank_with_what_makes_front_ends_say_so():
    states = {MODEL: pb.STAGE_ERROR, RESOURCES: pb.STAGE_SKIPPED, CARBON: pb.STAGE_SKIPPED}
    error = pb.StageError(code=pb.STAGE_ERROR_EXCEPTION, message="ValueError: no")
    given = iteration(states, failed=True, failed_stage=MODEL, error=error, state=pb.STAGE_ERROR)
    given.stages[MODEL].error.CopyFrom(error)
    made = Made({METADATA: pb.MLModelMetadata(), APP: pb.AppRequirements(), CONSTRAINTS: pb.HWConstraints()})
    found = results.result(given, graph.ALL, made)
    assert len(found) == 7
    assert found["task_id"] == TASK
    model, hardware, carbon = found["ML_MODEL"], found["HW_RESOURCES"], found["CARBON_FOOTPRINT"]
    assert (model["status"], model["error"]) == ("ERROR", "EXCEPTION: ValueError: no")
    assert (model["model"], model["model_path"], model["failed_stage"]) == ("Error", "Error", "ML_MODEL")
    assert (hardware["hw_description"], hardware["status"], hardware["latency"]) == ("Error", "SKIPPED", 0.0)
    assert hardware["error"].startswith("ML_MODEL did not succeed")
    assert carbon["extra_data"] == {"num_outputs": 1, "model_restrains": [], "mode": "error", "error": carbon["error"]}
    assert found["APP_REQUIREMENTS"]["status"] == "SUCCEEDED"


def test_what_was_stopped_is_answered_before_its_module_has_noticed():
    given = iteration({MODEL: pb.STAGE_RUNNING, CARBON: pb.STAGE_WAITING}, state=pb.STAGE_STOPPED)
    assert results.has_ended(given, MODEL)
    assert results.has_ended(given, graph.ALL)
    assert results.result(given, MODEL, Made())["ML_MODEL"]["status"] == "STOPPED"


def test_a_stage_of_a_failed_task_may_still_run():
    given = iteration({MODEL: pb.STAGE_RUNNING, METADATA: pb.STAGE_ERROR}, state=pb.STAGE_ERROR, failed=True)
    assert not results.has_ended(given, MODEL)
    assert not results.has_ended(given, graph.ALL)
