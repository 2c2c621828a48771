"""A federated run: a manager at the central node, a client at each data partner, and who publishes what they made."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from exchange import Exchange, ExchangeError
from execution import Execution
from model import Images, Model, merged
from models import Models
from work import learning

_MODEL, _METRICS = "model.zip", "metrics.json"


def manage(asked: Namespace, execution: Execution, models: Models) -> None:
    """Merge what the clients train, iteration by iteration, and leave the result for `publish`."""
    partners = sorted(each["data_partner"] for each in json.loads(asked.partners))
    exchange = Exchange(asked.kafka, asked.adapter)
    exchange.tell_ready()
    iteration = 0
    try:
        exchange.await_clients(partners)
        for iteration in range(asked.iterations):
            trained = exchange.gathered(partners, iteration)
            model = merged([Model.unpacked(trained[partner]) for partner in partners])
            exchange.send(model.packed(), iteration)
            print(f"iteration {iteration}: merged the models of {', '.join(partners)}", flush=True)
        measured = exchange.gathered(partners, asked.iterations)
    except ExchangeError:
        raise
    except Exception:
        exchange.tell_failure(iteration)
        raise
    folder = _folder(asked)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MODEL).write_bytes(model.packed())
    metrics = {
        f"{name}/{partner}": value for partner in partners for name, value in json.loads(measured[partner]).items()
    }
    (folder / _METRICS).write_text(json.dumps(metrics))


def take_part(asked: Namespace, execution: Execution, models: Models) -> None:
    """Train on the images of one data partner in each iteration, and measure what has come of it."""
    epochs, rate = learning(execution, asked.engine)
    images = Images.of(asked.data, json.loads(asked.patients)[asked.partner])
    exchange = Exchange(asked.kafka, asked.adapter, asked.partner)
    exchange.tell_ready()
    iteration = 0
    try:
        exchange.await_manager()
        model = Model.fresh()
        for iteration in range(asked.iterations):
            exchange.send(model.trained(images, epochs, rate).packed(), iteration)
            model = Model.unpacked(exchange.merged(iteration))
            print(f"{asked.partner}: iteration {iteration}: {model.measured(images)}", flush=True)
        exchange.send(json.dumps(model.measured(images)).encode(), asked.iterations)
    except ExchangeError:
        raise
    except Exception:
        exchange.tell_failure(iteration)
        raise


def publish(asked: Namespace, execution: Execution, models: Models) -> dict[str, Any]:
    """Hand over what the manager has left."""
    folder = _folder(asked)
    about = {"name": asked.name, "description": asked.description, "merge_type": asked.merge_type}
    metrics = json.loads((folder / _METRICS).read_text())
    made = {
        "ai_model": {"ai_model": models.keep_model((folder / _MODEL).read_bytes(), about)},
        "evaluation_metrics": [{"evaluation_metric": each} for each in models.keep_metrics(metrics)],
    }
    print(f"published {metrics}", flush=True)
    return made


def _folder(asked: Namespace) -> Path:
    return Path(asked.shared) / str(asked.execution)
