"""An experiment of SubstraFL, without torch: three organizations learn to read digits, and no image leaves home.

    python examples/substrafl/digits.py           # in the federation that `orchestrator up` runs
    python examples/substrafl/digits.py --local   # on this machine alone, in the Substra SDK's own local mode

Between the two, one line differs: the client that is made of each organization; see `connect`.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import substra
from sklearn.datasets import load_digits
from substrafl.algorithms import Algo
from substrafl.dependency import Dependency
from substrafl.evaluation_strategy import EvaluationStrategy
from substrafl.experiment import execute_experiment
from substrafl.model_loading import download_algo_state
from substrafl.nodes import AggregationNode, TestDataNode, TrainDataNode
from substrafl.remote import remote_data
from substrafl.strategies import FedAvg
from substrafl.strategies.schemas import FedAvgAveragedState, FedAvgSharedState, StrategyName

from orchestrator.client.substra import Client
from orchestrator.embedded import running

HERE = Path(__file__).parent
AGGREGATOR = "aggregator"
DATA_OWNERS = 3


class SoftmaxRegression(Algo):
    """Learns a weight for each pixel and digit by gradient descent.

    Args:
        steps: of each training.
        rate: of learning.
    """

    def __init__(self, steps: int = 20, rate: float = 1.0) -> None:
        super().__init__(steps=steps, rate=rate)
        self._steps, self._rate = steps, rate
        self._weights = np.zeros((65, 10))

    @property
    def model(self) -> np.ndarray:
        """The weights, the last row of those of no pixel."""
        return self._weights

    @property
    def strategies(self) -> list[StrategyName]:
        """What it can be trained by."""
        return [StrategyName.FEDERATED_AVERAGING]

    @remote_data
    def train(
        self, data_from_opener: tuple[np.ndarray, np.ndarray], shared_state: FedAvgAveragedState | None = None
    ) -> FedAvgSharedState:
        """Take on what all have learned, and return what is learned beyond that."""
        if shared_state is not None:
            self._weights = self._weights + shared_state.avg_parameters_update[0]
        images, digits = with_constant(data_from_opener[0]), data_from_opener[1]
        weights = self._weights
        for _ in range(self._steps):
            scores = images @ weights
            chances = np.exp(scores - scores.max(axis=1, keepdims=True))
            chances /= chances.sum(axis=1, keepdims=True)
            weights = weights - self._rate * images.T @ (chances - np.eye(10)[digits]) / len(digits)
        return FedAvgSharedState(n_samples=len(digits), parameters_update=[weights - self._weights])

    def predict(self, data_from_opener: tuple[np.ndarray, np.ndarray], shared_state: Any = None) -> np.ndarray:
        """Return the digits that images seem to show."""
        return self.read(data_from_opener[0])

    def read(self, images: np.ndarray) -> np.ndarray:
        """Return the digits that images seem to show."""
        return (with_constant(images) @ self._weights).argmax(axis=1)

    def save_local_state(self, path: Path) -> None:
        """Write the weights."""
        with path.open("wb") as file:
            np.save(file, self._weights)

    def load_local_state(self, path: Path) -> "SoftmaxRegression":
        """Read the weights."""
        self._weights = np.load(path)
        return self


def with_constant(images: np.ndarray) -> np.ndarray:
    """Return images with one more pixel, which is always 1."""
    return np.c_[images, np.ones(len(images))]


def accuracy(data_from_opener: tuple[np.ndarray, np.ndarray], predictions: np.ndarray) -> float:
    """Return how many digits were read right, from 0 to 1."""
    return float(np.mean(predictions == data_from_opener[1]))


class Nodes(NamedTuple):
    """What an organization takes part with."""

    train: TrainDataNode
    test: TestDataNode


def connect(data: Path, local: bool) -> list[Any]:
    """Return a client of each organization, the aggregator's last."""
    if local:
        return [substra.Client(backend_type=substra.BackendType.LOCAL_SUBPROCESS) for _ in range(DATA_OWNERS + 1)]
    federation = running.read(data)
    if federation is None:
        sys.exit(f"no federation runs in {data}: start one with `orchestrator up`")
    owners = [name for name in federation.organizations if name != AGGREGATOR][:DATA_OWNERS]
    return [Client(federation.client(name)) for name in (*owners, AGGREGATOR)]


def add_data(clients: Sequence[Any], analyst: str, scratch: Path) -> list[Nodes]:
    """Deal the digits out to organizations, which add what is theirs.

    Args:
        clients: of the organizations.
        analyst: whose compute plans may use it.
        scratch: an empty folder for the data samples; the Substra SDK's local mode reads them there.
    """
    source = load_digits()
    rows = np.c_[source.data, source.target][np.random.default_rng(1).permutation(len(source.target))]
    parts = np.array_split(rows, len(clients))
    return [add_dataset(client, part, analyst, scratch) for client, part in zip(clients, parts, strict=True)]


def add_dataset(client: Any, rows: np.ndarray, analyst: str, scratch: Path) -> Nodes:
    """Add an organization's data set, three quarters of it to learn from."""
    permissions = substra.schemas.Permissions(public=False, authorized_ids=[analyst])
    name = client.organization_info().organization_id
    dataset = client.add_dataset(
        substra.schemas.DatasetSpec(
            name=f"Digits, {name}",
            data_opener=HERE / "opener.py",
            description=HERE / "README.md",
            permissions=permissions,
            logs_permission=permissions,
        )
    )
    folders = [scratch / name / part for part in ("train", "test")]
    for folder, part in zip(folders, np.split(rows, [len(rows) * 3 // 4]), strict=True):
        folder.mkdir(parents=True)
        np.savetxt(folder / "digits.txt", part, fmt="%d")
    train, test = client.add_data_samples(substra.schemas.DataSampleSpec(paths=folders, data_manager_keys=[dataset]))
    return Nodes(TrainDataNode(name, dataset, [train]), TestDataNode(name, dataset, [test]))


def experiment(owners: Sequence[Any], analyst: Any, rounds: int, scratch: Path) -> dict[str, Any]:
    """Return what SubstraFL is told to do.

    Args:
        owners: clients of those who have data.
        analyst: client of the one who averages.
        rounds: of training.
        scratch: an empty folder.
    """
    name = analyst.organization_info().organization_id
    nodes = add_data(owners, name, scratch)
    return {
        "client": analyst,
        "strategy": FedAvg(algo=SoftmaxRegression(), metric_functions=accuracy),
        "train_data_nodes": [each.train for each in nodes],
        "evaluation_strategy": EvaluationStrategy([each.test for each in nodes], eval_frequency=1),
        "aggregation_node": AggregationNode(name),
        "num_rounds": rounds,
        "experiment_folder": scratch / "summaries",
    }


def main(data: Path, rounds: int, local: bool) -> None:
    """Train for some rounds, and print how good the shared model is at each organization, round by round.

    Args:
        data: folder of the federation.
        rounds: of training.
        local: on this machine alone.
    """
    *owners, analyst = connect(data, local)
    with tempfile.TemporaryDirectory() as scratch:
        arguments = experiment(owners, analyst, rounds, Path(scratch))
        plan = execute_experiment(
            **arguments,
            dependencies=Dependency(pypi_dependencies=["numpy"]),
            clean_models=False,
            name="Digits, federated averaging",
        )
        found = analyst.get_performances(plan.key, wait_completion=True)
    for number, worker, value in zip(found.round_idx, found.worker, found.performance, strict=True):
        print(f"round {number}  {worker}  accuracy {value:.6f}")
    # Each organization may read the states of its own tasks.
    learned = download_algo_state(client=owners[0], compute_plan_key=plan.key, round_idx=rounds)
    images, digits = load_digits(return_X_y=True)
    print(f"of all digits, the model reads {np.mean(learned.read(images / 16) == digits):.1%} right")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run one SubstraFL experiment, here or on the orchestrator.")
    parser.add_argument("--data", type=Path, default=os.environ.get("ORCHESTRATOR_DATA", ".orchestrator"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--local", action="store_true", help="in the Substra SDK's own local mode, without a federation"
    )
    main(**vars(parser.parse_args()))
