"""A whole compute plan as it is sent: in parts, none of which is too large for a message."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from orchestrator import protos as pb

Part = TypeVar("Part")

# The orchestrator takes parts of 4 MiB, and messages of 64.
_PART_BYTES = 1024 * 1024


def parts(
    plan: pb.NewComputePlan, tasks: Sequence[pb.NewComputeTask], part: Callable[..., Part], most: int = _PART_BYTES
) -> Iterator[Part]:
    """Yield a whole plan as it is sent.

    Args:
        plan: without its tasks.
        tasks: all of them.
        part: makes a part.
        most: bytes of the tasks of a part, but for one task that is larger.
    """
    head: pb.PlanHead | None = pb.PlanHead(plan=plan, tasks=len(tasks))
    some: list[pb.NewComputeTask] = []
    size = 0
    for task in tasks:
        own = task.ByteSize()
        if some and size + own > most:
            yield part(head=head, tasks=some)
            head, some, size = None, [], 0
        some.append(task)
        size += own
    yield part(head=head, tasks=some)
