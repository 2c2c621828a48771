"""The aggregator's part of a round: the average of the hospitals' models, weighted by their patients."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import substratools as tools


@tools.register
def aggregate(inputs: dict[str, Any], outputs: dict[str, str], task_properties: dict[str, Any]) -> None:
    """Average `models` and write `model`."""
    models = [json.loads(Path(path).read_text()) for path in inputs["models"]]
    Path(outputs["model"]).write_text(json.dumps(average(models)))
    print(f"rank {task_properties.get('rank')}: averaged {len(models)} models")


def average(models: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the average of models as `train` writes them, weighted by their numbers of patients."""
    patients = [model["patients"] for model in models]
    return {
        "weights": np.average([model["weights"] for model in models], axis=0, weights=patients).tolist(),
        "bias": float(np.average([model["bias"] for model in models], weights=patients)),
        "patients": sum(patients),
    }


if __name__ == "__main__":
    tools.execute()
