"""The example's six scripts, one after another, on one problem."""

import json

import pytest
import sustainml_swig as swig

from examples.modules import carbon, constraints, metadata, model, requirements, resources


@pytest.fixture(autouse=True)
def _quickly(monkeypatch):
    monkeypatch.setattr(resources, "SECONDS", 0.05)
    monkeypatch.setattr(carbon, "TRIED", 5)


def solve(text, **extra):
    """Have the six solve a problem; return what each has made."""
    user_input, status = swig.UserInput(), swig.NodeStatus()
    user_input.problem_short_description(text)
    user_input.geo_location_region("Spain")
    user_input.extra_data(json.dumps({"num_outputs": 3, **extra}).encode())
    made = [swig.MLModelMetadata(), swig.AppRequirements(), swig.HWConstraints()]
    for script, output in zip((metadata, requirements, constraints), made, strict=True):
        script.task(user_input, status, output)
    chosen, hardware, footprint = swig.MLModel(), swig.HWResource(), swig.CO2Footprint()
    model.task(*made, swig.MLModel(), swig.HWResource(), swig.CO2Footprint(), status, chosen)
    resources.task(chosen, made[1], made[2], status, hardware)
    carbon.task(chosen, user_input, hardware, status, footprint)
    return chosen, hardware, footprint


def extra_of(message):
    return json.loads(bytes(message.extra_data()))


def test_each_way_to_solve_it_is_another_model():
    chosen = []
    for left in (3, 2, 1):
        made, hardware, footprint = solve("Tell the cultivar of a wine", num_outputs=left, model_restrains=chosen)
        assert made.model() not in chosen
        assert json.loads(made.model_properties())["accuracy"] > 0.8
        assert hardware.latency() > 0
        assert footprint.carbon_footprint() == footprint.energy_consumption() * 150 > 0
        chosen = extra_of(footprint)["model_restrains"]
        assert chosen[-1] == made.model()
        assert extra_of(footprint)["num_outputs"] == left
        assert "method" in extra_of(footprint)


def test_what_is_explained_to_doctors_is_explainable():
    made, _, _ = solve("Tell doctors which tumour is malignant, and why")
    assert made.model() in model.EXPLAINABLE


def test_no_model_is_left():
    every = [model.name_of(each) for each in model.MODELS["classification"]]
    made, hardware, footprint = solve("Tell the cultivar of a wine", model_restrains=every)
    assert (made.model(), hardware.hw_description()) == ("NO_MODEL", "Error")
    assert extra_of(made)["error_code"] == "NO_MODEL"
    assert (extra_of(footprint)["mode"], extra_of(footprint)["num_outputs"]) == ("no_model", 1)


def test_nobody_knows_what_is_wanted():
    made, _, _ = solve("Make me happy")
    assert "no data" in extra_of(made)["error"]


def test_a_further_iteration_has_the_goal_of_the_one_before():
    made, _, _ = solve("Tell the cultivar of a wine", goal="classification, wine")
    assert made.model() != "NO_MODEL"
