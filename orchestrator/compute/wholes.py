"""A whole compute plan as it is sent: its tasks in little memory, and a digest of its content."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol, Self, TypeAlias

from orchestrator import protos as pb
from orchestrator.compute import task_registration
from orchestrator.core.errors import BadRequestError, ConflictError, OrchestratorError
from orchestrator.core.fields import parse_key


class Part(Protocol):
    """A part of a plan."""

    @property
    def head(self) -> pb.PlanHead:
        """What the first part says of it."""

    @property
    def tasks(self) -> Iterable[pb.NewComputeTask]:
        """Some of its tasks."""


Refuse: TypeAlias = Callable[[str, OrchestratorError], None]
"""Is told of a task that breaks a rule by itself, by its key."""


def _raise(_: str, error: OrchestratorError) -> None:
    raise error


class Packed(Mapping[str, pb.NewComputeTask]):
    """Tasks by their keys, in the order in which they were added; serialized, as most are looked at once or twice."""

    def __init__(self) -> None:
        self._packed: dict[str, bytes] = {}

    def add(self, new: pb.NewComputeTask) -> None:
        """Add a task.

        Raises:
            ConflictError: there is one with its key.
        """
        if new.key in self._packed:
            raise ConflictError(f"task {new.key} is given twice")
        self._packed[new.key] = new.SerializeToString(deterministic=True)

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


def read(parts: Iterable[Part], refuse: Refuse = _raise) -> tuple[pb.PlanHead, Packed]:
    """Return what is said of a plan, and its tasks, each checked by itself.

    Args:
        parts: as they came.
        refuse: is told of a task that breaks a rule; by default the first ends it.

    Raises:
        BadRequestError: the parts are no plan, or not the whole of one.
        OrchestratorError: the contract's error for the first task that breaks a rule.
    """
    head, came = pb.PlanHead(), 0
    plan = head.plan
    packed = Packed()
    for number, part in enumerate(parts):
        if part.head.HasField("plan") != (not number):
            raise BadRequestError("head: the first part, and no other, says which compute plan it is")
        if not number:
            head.CopyFrom(part.head)
            plan.key = str(parse_key(plan.key))
        for new in part.tasks:
            came += 1
            new.compute_plan_key = new.compute_plan_key or plan.key
            try:
                task_registration.prepare(new)
                if new.compute_plan_key != plan.key:
                    raise BadRequestError(f"task {new.key}: it is of another compute plan, {new.compute_plan_key}")
                packed.add(new)
            except OrchestratorError as error:
                refuse(new.key, error)
    if not plan.key:
        raise BadRequestError("head: the first part says which compute plan it is; none came")
    if came != head.tasks:
        raise BadRequestError(
            f"{head.tasks} tasks were announced, and {came} came: the plan was cut off, send it again"
        )
    return head, packed
