"""How well a model does on the patients that a hospital kept for testing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import substratools as tools


@tools.register
def test(inputs: dict[str, Any], outputs: dict[str, str], task_properties: dict[str, Any]) -> None:
    """Judge `model` on `datasamples` and write the performances `accuracy` and `auc`."""
    features, labels = inputs["datasamples"]
    scores = measure(json.loads(Path(inputs["model"]).read_text()), features, labels)
    for name, score in scores.items():
        tools.save_performance(score, outputs[name])
    print(f"rank {task_properties.get('rank')}: {scores} on {len(labels)} patients")


def measure(model: dict[str, Any], features: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Return a model's scores.

    `accuracy` is the share of patients that it judges right; `auc` the share of pairs, one malignant and one
    benign, in which the malignant patient gets the higher score (a tie counts half).

    Raises:
        ValueError: all patients are of one kind, so that there is no such pair.
    """
    scores = features @ np.array(model["weights"]) + model["bias"]
    malignant, benign = scores[labels == 1], np.sort(scores[labels == 0])
    if not len(malignant) or not len(benign):
        raise ValueError("the test data has patients of one kind only: AUC needs malignant and benign ones")
    beaten = np.searchsorted(benign, malignant, "left") + np.searchsorted(benign, malignant, "right")
    return {
        "accuracy": float(((scores > 0) == (labels == 1)).mean()),
        "auc": float(beaten.mean() / 2 / len(benign)),
    }


if __name__ == "__main__":
    tools.execute()
