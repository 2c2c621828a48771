"""The arithmetic of the example's functions, and how good the models are that come of it."""

import re
from statistics import mean

import numpy as np
import pytest

from examples.breast_cancer import FUNCTIONS, baselines, data
from examples.breast_cancer.functions.aggregate import function as aggregation
from examples.breast_cancer.functions.test import function as testing
from examples.breast_cancer.functions.train import function as training
from orchestrator.client import declaration

README = FUNCTIONS.parent / "README.md"
HOSPITALS = ["north", "middle", "south"]


def federate(hospitals: dict[str, data.Hospital], rounds: int) -> dict:
    model = None
    for _ in range(rounds):
        model = aggregation.average([training.fit(*hospital.train, model) for hospital in hospitals.values()])
    assert model
    return model


def mean_accuracy(scores) -> float:
    return mean(score["accuracy"] for score in scores)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("rounds", [2, 5])
def test_the_federated_model_is_as_good_as_the_pooled_one(seed: int, rounds: int) -> None:
    hospitals = data.split(HOSPITALS, seed)
    model = federate(hospitals, rounds)
    federated = mean_accuracy(testing.measure(model, *hospital.test) for hospital in hospitals.values())
    pooled = mean_accuracy(baselines.measure(hospitals, rounds).pooled.values())
    assert federated >= 0.93
    assert federated == pytest.approx(pooled, abs=0.02)


def test_rounds_matter() -> None:
    features, labels = data.split(HOSPITALS)["north"].train

    def loss(model: dict) -> float:
        odds = features @ np.array(model["weights"]) + model["bias"]
        return float(np.logaddexp(0, np.where(labels == 1, -odds, odds)).mean())

    hospitals = data.split(HOSPITALS)
    losses = [loss(federate(hospitals, rounds)) for rounds in (1, 2, 3, 5)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.8 * losses[0]


def test_baselines_cover_every_hospital() -> None:
    measured = baselines.measure(data.split(HOSPITALS), 1)
    for scores in measured:
        assert list(scores) == HOSPITALS
        assert all(0.8 <= value <= 1 for score in scores.values() for value in score.values())


def test_a_hospital_alone_is_a_federation_of_one() -> None:
    hospitals = data.split(["only"])
    model = federate(hospitals, 3)
    measured = baselines.measure(hospitals, 3)
    assert measured.alone == measured.pooled == {"only": testing.measure(model, *hospitals["only"].test)}


def test_baselines_of_no_round_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, not 0"):
        baselines.measure(data.split(HOSPITALS), 0)


def test_training_does_not_depend_on_units() -> None:
    features, labels = data.split(HOSPITALS)["middle"].train
    units = np.geomspace(0.001, 1000, features.shape[1])
    start = training.fit(features, labels, None)
    converted = {**start, "weights": (np.array(start["weights"]) / units).tolist()}
    here, there = training.fit(features, labels, start), training.fit(features * units, labels, converted)
    np.testing.assert_allclose(np.array(there["weights"]) * units, here["weights"], rtol=1e-9)
    assert there["bias"] == pytest.approx(here["bias"])


def test_a_measurement_that_never_varies_teaches_nothing() -> None:
    features = np.array([[1.0, 7.0], [2.0, 7.0], [3.0, 7.0], [4.0, 7.0]])
    model = training.fit(features, np.array([0.0, 0.0, 1.0, 1.0]), None)
    assert model["weights"][0] > 0
    assert model["weights"][1] == 0


def test_an_average_weighs_patients() -> None:
    small = {"weights": [1.0, 0.0], "bias": 4.0, "patients": 10}
    large = {"weights": [5.0, 8.0], "bias": 0.0, "patients": 30}
    assert aggregation.average([small, large]) == {"weights": [4.0, 6.0], "bias": 1.0, "patients": 40}


def test_scores_of_a_case_done_by_hand() -> None:
    model = {"weights": [1.0], "bias": 0.0, "patients": 5}
    features = np.array([[-2.0], [1.0], [1.0], [3.0], [-1.0]])
    labels = np.array([0.0, 0.0, 1.0, 1.0, 1.0])
    # Pairs won by the malignant: 1.5 of 2 at 1.0 (one tie), 2 at 3.0, 1 at -1.0: 4.5 of 6.
    assert testing.measure(model, features, labels) == {"accuracy": pytest.approx(0.6), "auc": 0.75}


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_scores_need_patients_of_both_kinds(label: float) -> None:
    with pytest.raises(ValueError, match="patients of one kind only"):
        testing.measure({"weights": [1.0], "bias": 0.0}, np.ones((3, 1)), np.full(3, label))


@pytest.mark.parametrize("function", ["train", "aggregate", "test"])
def test_what_a_function_declares_is_what_the_readme_says(function: str) -> None:
    declared = declaration.read(FUNCTIONS / function)
    assert declared.name == function
    (row,) = (line for line in README.read_text().splitlines() if line.startswith(f"| `{function}` |"))
    assert set(re.findall(r"`(\w+)`", row)) == {function, *declared.inputs, *declared.outputs}
