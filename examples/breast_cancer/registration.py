"""What a federation needs before it can train: the example's functions and data, added by their owners."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from examples.breast_cancer import FUNCTIONS, OPENER
from orchestrator import protos as pb
from orchestrator.client import Client
from orchestrator.embedded.running import Running

if TYPE_CHECKING:
    from examples.breast_cancer.data import Hospital


@dataclass(frozen=True)
class Dataset:
    """What a hospital added.

    Args:
        manager: its data manager.
        train: data samples to learn from.
        test: those kept for testing.
    """

    manager: pb.DataManager
    train: Sequence[pb.DataSample]
    test: Sequence[pb.DataSample]


@dataclass(frozen=True)
class Functions:
    """The example's functions, as the orchestrator has them."""

    train: pb.Function
    aggregate: pb.Function
    test: pb.Function

    @property
    def all(self) -> Sequence[pb.Function]:
        """The three of them."""
        return (self.train, self.aggregate, self.test)


@contextmanager
def joined(federation: Running) -> Iterator[Mapping[str, Client]]:
    """Act for every organization of a federation that runs on this machine, until the block is over."""
    with ExitStack() as connections:
        yield {name: connections.enter_context(federation.client(name)) for name in federation.organizations}


def add_functions(owner: Client, hospitals: Sequence[str]) -> Functions:
    """Add the functions of one organization, which its worker then builds.

    Args:
        owner: whose they are; the only one that may aggregate.
        hospitals: who may run the other functions.
    """
    return Functions(
        train=owner.add_function(FUNCTIONS / "train", permissions=hospitals),
        aggregate=owner.add_function(FUNCTIONS / "aggregate"),
        test=owner.add_function(FUNCTIONS / "test", permissions=hospitals),
    )


def add_dataset(owner: Client, patients: "Hospital", analyst: str) -> Dataset:
    """Put a hospital's patients into its own asset store, and register that they exist.

    Args:
        owner: the hospital.
        patients: its own.
        analyst: the organization whose tasks may use them, by the functions that it may run; nobody else may.
    """
    from examples.breast_cancer.data import write_hospital  # brings scikit-learn, which takes a second

    manager = owner.add_dataset(
        OPENER,
        name=f"Breast cancer, {owner.organization}",
        permissions=analyst,
        description=f"# Breast cancer\n\nTumour cells of patients of {owner.organization}, measured.\n",
    )
    with tempfile.TemporaryDirectory() as scratch:
        folders = write_hospital(Path(scratch), patients)
        return Dataset(manager, owner.add_samples(folders.train, manager), owner.add_samples(folders.test, manager))
