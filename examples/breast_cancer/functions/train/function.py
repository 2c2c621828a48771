"""One hospital's part of a round: go on from the shared model, with this hospital's patients alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import substratools as tools

STEPS = 20
LEARNING_RATE = 0.3
L2 = 0.01


@tools.register
def train(inputs: dict[str, Any], outputs: dict[str, str], task_properties: dict[str, Any]) -> None:
    """Train on `datasamples`, from the model `shared` if there is one, and write `model`."""
    features, labels = inputs["datasamples"]
    start = json.loads(Path(inputs["shared"]).read_text()) if "shared" in inputs else None
    Path(outputs["model"]).write_text(json.dumps(fit(features, labels, start)))
    print(f"rank {task_properties.get('rank')}: {STEPS} steps on {len(labels)} patients")


def fit(features: np.ndarray, labels: np.ndarray, start: dict[str, Any] | None) -> dict[str, Any]:
    """Return a logistic regression after a few steps of gradient descent.

    The steps need measurements of like size, and hospitals do not tell each other theirs. So each scales by
    its own, and translates the model on its way in and out: a model that travels speaks of raw measurements,
    and an average of such models answers each patient with the average of their answers (in log-odds).

    Args:
        features: a row per patient.
        labels: 1 or 0.
        start: the model to go on from, as returned here; None starts at zero.
    """
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale == 0] = 1.0
    scaled = (features - mean) / scale
    if start is None:
        weights, bias = np.zeros(features.shape[1]), 0.0
    else:
        raw = np.array(start["weights"])
        weights, bias = raw * scale, start["bias"] + raw @ mean
    for _ in range(STEPS):
        # The logistic function, in the form that never overflows.
        wrong = (1 + np.tanh((scaled @ weights + bias) / 2)) / 2 - labels
        weights = weights - LEARNING_RATE * (wrong @ scaled / len(labels) + L2 * weights)
        bias = bias - LEARNING_RATE * wrong.mean()
    weights = weights / scale
    return {"weights": weights.tolist(), "bias": float(bias - weights @ mean), "patients": len(labels)}


if __name__ == "__main__":
    tools.execute()
