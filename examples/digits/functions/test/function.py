"""How many of the digits that a clinic kept for testing a network reads right."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import substratools as tools


@tools.register
def test(inputs: dict[str, Any], outputs: dict[str, str], task_properties: dict[str, Any]) -> None:
    """Judge `model` on `datasamples` and write the performance `accuracy`."""
    images, digits = inputs["datasamples"]
    model = json.loads(Path(inputs["model"]).read_text())
    network = {name: np.array(values) for name, values in model["network"].items()}
    hidden = np.maximum(images @ network["hidden"] + network["hidden_bias"], 0)
    read = (hidden @ network["output"] + network["output_bias"]).argmax(axis=1)
    accuracy = float((read == digits).mean())
    tools.save_performance(accuracy, outputs["accuracy"])
    print(f"rank {task_properties.get('rank')}: {accuracy:.1%} of {len(digits)} digits")


if __name__ == "__main__":
    tools.execute()
