"""Many tasks in little memory."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Self

from orchestrator import protos as pb
from orchestrator.core.errors import ConflictError


class Packed(Mapping[str, pb.NewComputeTask]):
    """Tasks by their keys, in the order in which they were added; serialized, as most are looked at once or twice."""

    def __init__(self) -> None:
        self._packed: dict[str, bytes] = {}

    def add(self, new: pb.NewComputeTask) -> None:
        """Add a task.

        Raises:
            ConflictError: there is one with its key.
        """
        if (key := new.key) in self._packed:
            raise ConflictError(f"task {key} is given twice")
        self._packed[key] = new.SerializeToString(deterministic=True)

    def __getitem__(self, key: str) -> pb.NewComputeTask:
        return pb.NewComputeTask.FromString(self._packed[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def ordered(self, keys: Iterable[str]) -> Self:
        """Return those of some keys, in their order."""
        found = type(self)()
        found._packed = {key: self._packed[key] for key in keys}
        return found

    def digest(self, plan: pb.NewComputePlan) -> bytes:
        """Return the SHA-256 of a plan with these tasks, in whatever order they came."""
        whole = hashlib.sha256(plan.SerializeToString(deterministic=True))
        for key in sorted(self._packed):
            whole.update(hashlib.sha256(self._packed[key]).digest())
        return whole.digest()
