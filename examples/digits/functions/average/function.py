"""The analyst's part of a round: the average of the clinics' networks, weighted by their digits."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import substratools as tools


@tools.register
def average(inputs: dict[str, Any], outputs: dict[str, str], task_properties: dict[str, Any]) -> None:
    """Average `models` and write `model`."""
    models = [json.loads(Path(path).read_text()) for path in inputs["models"]]
    weights = [model["digits"] for model in models]
    network = {
        name: np.average([model["network"][name] for model in models], axis=0, weights=weights).tolist()
        for name in models[0]["network"]
    }
    Path(outputs["model"]).write_text(json.dumps({"network": network, "digits": sum(weights)}))
    print(f"rank {task_properties.get('rank')}: averaged {len(models)} networks")


if __name__ == "__main__":
    tools.execute()
