"""A whole compute plan as it is sent, in parts."""

from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias

from orchestrator import protos as pb
from orchestrator.compute import task_registration
from orchestrator.compute.packed import Packed
from orchestrator.core.errors import BadRequestError, OrchestratorError
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
