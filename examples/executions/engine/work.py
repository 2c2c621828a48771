"""What an AI engine does in an execution: train, evaluate, read images."""

from __future__ import annotations

import io
import json
import zipfile
from argparse import Namespace
from typing import Any

import numpy as np
from execution import Execution
from model import PIXELS, Images, Model
from models import Models

_EPOCHS, _RATE = 300, 1.0
_SIDE = 8


def train(asked: Namespace, execution: Execution, models: Models) -> dict[str, Any]:
    """Train a model on the images of a data partner's patients; go on from another model where one is given."""
    epochs, rate = learning(execution, asked.engine)
    patients = json.loads(asked.patients)[asked.partner]
    about = execution.clinical_data(asked.partner)
    print(f"{asked.partner}: {len(patients)} patients, {len(about['patients'])} with clinical data", flush=True)
    images = Images.of(asked.data, patients)
    start = Model.unpacked(models.model(asked.model)) if asked.model else Model.fresh()
    model = start.trained(images, epochs, rate)
    metrics = model.measured(images)
    print(f"trained on {len(images.digits)} images in {epochs} epochs: {metrics}", flush=True)
    return {
        "ai_model": {"ai_model": models.keep_model(model.packed(), _named(asked))},
        "evaluation_metrics": [{"evaluation_metric": each} for each in models.keep_metrics(metrics)],
    }


def evaluate(asked: Namespace, execution: Execution, models: Models) -> dict[str, Any]:
    """Measure a model on the images of a data partner's patients."""
    images = Images.of(asked.data, json.loads(asked.patients)[asked.partner])
    metrics = Model.unpacked(models.model(asked.model)).measured(images)
    print(f"evaluated on {len(images.digits)} images of {asked.partner}: {metrics}", flush=True)
    return {"evaluation_metrics": [{"evaluation_metric": each} for each in models.keep_metrics(metrics)]}


def infer(asked: Namespace, execution: Execution, models: Models) -> dict[str, Any]:
    """Read the images that were sent with the execution: a zip of text files, one image each."""
    model = Model.unpacked(models.model(asked.model))
    with zipfile.ZipFile(io.BytesIO(execution.external_data())) as sent:
        names = sorted(sent.namelist())
        pixels = np.array([_image(sent.read(name), name) for name in names])
    found = dict(zip(names, model.read(pixels).tolist(), strict=True))
    print(f"read {len(found)} images", flush=True)
    content = json.dumps(found, indent=1).encode()
    return {"generic_file": {"generic_file": models.keep_file(content, "digits.json")}}


def learning(execution: Execution, engine: str) -> tuple[int, float]:
    """Return how an engine is to learn: epochs, and the rate.

    Raises:
        ValueError: the user variables say it wrongly.
    """
    told = execution.user_vars(engine)
    epochs, rate = told.get("epochs", _EPOCHS), told.get("learning_rate", _RATE)
    if not isinstance(epochs, int) or not 1 <= epochs <= 10_000:
        raise ValueError(
            f"the user variable epochs of {engine} is {epochs!r}, and a number from 1 to 10000 is expected"
        )
    if not isinstance(rate, int | float) or not 0 < rate <= 100:
        raise ValueError(f"the user variable learning_rate of {engine} is {rate!r}, and a number up to 100 is expected")
    return epochs, rate


def _named(asked: Namespace) -> dict[str, str]:
    return {"name": asked.name, "description": asked.description, "merge_type": asked.merge_type}


def _image(content: bytes, name: str) -> list[float]:
    numbers = [float(word) for word in content.split()]
    if len(numbers) != PIXELS:
        raise ValueError(f"{name} has {len(numbers)} numbers, and an image has {_SIDE} rows of {_SIDE}")
    return numbers
