"""What the federated model is measured against: each hospital on its own, and all data in one place.

Both train with the very code of the `train` function and are judged with that of the `test` function. Pooling
is what the federation exists to avoid: only an example with public data can afford it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from examples.breast_cancer.data import Hospital, Patients
from examples.breast_cancer.functions.test import function as testing
from examples.breast_cancer.functions.train import function as training

Scores = dict[str, dict[str, float]]
"""Hospital -> `accuracy` and `auc` on its test part."""


class Baselines(NamedTuple):
    """Scores of each hospital's own model, and of the model trained on all data pooled."""

    alone: Scores
    pooled: Scores


def measure(hospitals: Mapping[str, Hospital], rounds: int) -> Baselines:
    """Train and test the models that need no federation.

    Args:
        hospitals: the patients of each.
        rounds: rounds of the federated training that they are compared with; each is as long as one task.
    """
    everyone = Patients(
        np.concatenate([hospital.train.features for hospital in hospitals.values()]),
        np.concatenate([hospital.train.labels for hospital in hospitals.values()]),
    )
    pooled = _train(everyone, rounds)
    return Baselines(
        alone={
            name: testing.measure(_train(hospital.train, rounds), *hospital.test)
            for name, hospital in hospitals.items()
        },
        pooled={name: testing.measure(pooled, *hospital.test) for name, hospital in hospitals.items()},
    )


def _train(patients: Patients, rounds: int) -> dict[str, Any]:
    model = None
    for _ in range(rounds):
        model = training.fit(*patients, model)
    if model is None:
        raise ValueError(f"rounds must be at least 1, not {rounds}")
    return model
