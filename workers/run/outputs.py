"""Where a task writes its outputs, and what is made of them."""

import json
import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator import protos as pb
from workers.assets.addresses import model_name
from workers.assets.regular import IrregularFileError, open_regular
from workers.assets.store import AssetStore, url
from workers.errors import ExecutionFault
from workers.executors.executor import Resource

# A performance is {"all": number}; more than this is something else.
_PERFORMANCE_SIZE_LIMIT = 1024**2
# The contract carries performances as 32-bit floats.
_LARGEST_FLOAT = 3.4028234663852886e38

JOURNAL = "stored"
"""The name of the journal (see `Results`) in a working folder."""


@dataclass
class Results:
    """What a task produced, as the orchestrator is told.

    Args:
        journal: where names of files are written before they are put into the own store, in case we are killed.
        models: their files lie in the own store.
        performances: the measured numbers.
        stored: names of the files put into the own store.
    """

    journal: Path
    models: list[pb.NewModel] = field(default_factory=list)
    performances: list[pb.NewPerformance] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)

    def announce(self, name: str) -> None:
        """Say that a file is about to be put into the own store."""
        self.stored.append(name)
        with self.journal.open("a") as journal:
            journal.write(f"{name}\n")

    def discard(self, store: AssetStore) -> None:
        """Delete the files again: the orchestrator does not know them and never will."""
        for name in self.stored:
            store.delete(name)


def announced(journal: Path) -> list[str]:
    """Return the names in the journal of an attempt that was killed; none where there is no journal."""
    return journal.read_text().splitlines() if journal.exists() else []


def places(declared: Mapping[str, pb.FunctionOutput], folder: Path) -> list[Resource]:
    """Say where each output is to be written.

    Args:
        declared: the function's outputs, by identifier.
        folder: an existing, empty folder.
    """
    return [
        Resource(identifier, folder / str(number), declared[identifier].multiple)
        for number, identifier in enumerate(sorted(declared))
    ]


def check(written: list[Resource], size_limit: int) -> None:
    """Check that each output is a file of its own, of a bearable size.

    Raises:
        ExecutionFault: one is missing, no such file, or too large; names it.
    """
    for output in written:
        name = repr(output.identifier)
        try:
            with open_regular(output.path) as file:
                size = file.seek(0, 2)
        except FileNotFoundError as error:
            raise ExecutionFault(f"the function has not written its output {name}") from error
        except IrregularFileError as error:
            raise ExecutionFault(f"the function's output {name} is {error}, expected a file of its own") from error
        if size > size_limit:
            raise ExecutionFault(f"the function's output {name} has {size} bytes, the limit is {size_limit}")


def save(
    task: str,
    written: list[Resource],
    declared: Mapping[str, pb.FunctionOutput],
    store: AssetStore,
    store_url: str,
    results: Results,
) -> None:
    """Put the models into the own store, and read the performances.

    Args:
        task: key of the task.
        written: the outputs, checked.
        declared: the function's outputs, by identifier.
        store: the own store.
        store_url: its public https URL.
        results: is filled, also when an error is raised, so that the caller can discard.

    Raises:
        ExecutionFault: a performance is no number.
    """
    for output in written:
        if declared[output.identifier].kind == pb.ASSET_PERFORMANCE:
            results.performances.append(
                pb.NewPerformance(
                    compute_task_key=task,
                    compute_task_output_identifier=output.identifier,
                    performance_value=read_performance(output),
                )
            )
            continue
        key = str(uuid.uuid4())
        name = model_name(key)
        results.announce(name)
        stored = store.put(name, output.path)
        results.models.append(
            pb.NewModel(
                key=key,
                compute_task_key=task,
                compute_task_output_identifier=output.identifier,
                address=pb.Addressable(checksum=stored.checksum, storage_address=url(store_url, stored.name)),
            )
        )


def read_performance(output: Resource) -> float:
    """Read the number from a performance's file, `{"all": number}`; NaN and Infinity are numbers too.

    Raises:
        ExecutionFault: the file holds something else, or a number that is too large for the contract.
    """
    with open_regular(output.path) as file:
        content = file.read(_PERFORMANCE_SIZE_LIMIT + 1)
    try:
        if len(content) > _PERFORMANCE_SIZE_LIMIT:
            raise ValueError("too long")
        # Written in digits it is no infinity, but a number that is too large.
        number = json.loads(content, parse_float=_finite)["all"]
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ValueError("no number")
        value = float(number)
        if math.isfinite(value) and abs(value) > _LARGEST_FLOAT:
            raise ValueError("out of range")
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ExecutionFault(
            f"the function's performance {output.identifier!r} is not a JSON file of the form "
            f'{{"all": number}} with a number of 32 bits: {content[:200].decode(errors="replace")!r}'
        ) from error
    return value


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError("out of range")
    return value
