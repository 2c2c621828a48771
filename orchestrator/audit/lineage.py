"""The tasks of a trace and what they wait for, as far as the events tell.

A task that is older than the trace has no state until an event tells it; whether its children wait for it is left open
until then.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from sys import intern

from orchestrator import protos as pb
from orchestrator.core import states

_PARENTS_ARE_DONE = frozenset({pb.STATUS_WAITING_FOR_EXECUTOR_SLOT, pb.STATUS_EXECUTING, pb.STATUS_DONE})


def parents_of(task: pb.ComputeTask) -> tuple[str, ...]:
    """Return the keys of a task's parents, each once, in the order of its inputs."""
    given = (each.parent_task_output.parent_task_key for each in task.inputs if each.HasField("parent_task_output"))
    return tuple(dict.fromkeys(given))


@dataclass(slots=True)
class Plan:
    """A compute plan: the dates of its end, and its tasks that have not ended."""

    dates: tuple[bytes, bytes] = (b"", b"")
    cancelled: bool = False
    live: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Task:
    """A task; `pending` counts its parents that are not Done, `unsure` those of which no event tells the state."""

    status: "states.TaskStatus | None"
    plan: str = ""
    function: str = ""
    worker: str = ""
    parents: tuple[str, ...] = ()
    pending: int = 0
    unsure: int = 0
    live_children: set[str] | None = None
    had_children: bool = False


def old_task() -> Task:
    """Return a task that is older than the trace: nothing is known of it, it may have had children."""
    return Task(None, had_children=True)


class Lineage:
    """All tasks, and all compute plans, by their keys."""

    def __init__(self) -> None:
        self.tasks: dict[str, Task] = {}
        self.plans: dict[str, Plan] = {}

    def connect(self, asset: pb.ComputeTask, task: Task, old: Iterable[str]) -> None:
        """Put a task among those that it refers to.

        Args:
            asset: what tells of it.
            task: the one to fill in.
            old: the keys of parents that are older than the trace.
        """
        # One string for all the tasks of a plan: they are held for as long as the trace goes on.
        task.plan, task.function, task.worker = map(intern, (asset.compute_plan_key, asset.function_key, asset.worker))
        for key in old:
            self.tasks.setdefault(key, old_task())
        task.parents = tuple(key for key in parents_of(asset) if key in self.tasks)
        for parent in self.parents(task):
            task.unsure += parent.status is None
            task.pending += parent.status not in (pb.STATUS_DONE, None)
            parent.had_children = True
            parent.live_children = parent.live_children or set()
            parent.live_children.add(asset.key)
        self.tasks[asset.key] = task
        self.plans.setdefault(task.plan, Plan()).live.add(asset.key)

    def parents(self, task: Task) -> Iterator[Task]:
        """Yield the parents of a task that are known."""
        return map(self.tasks.__getitem__, task.parents)

    def live_children(self, task: Task) -> list[tuple[str, Task]]:
        """Return the children of a task that have not ended, by their keys."""
        return [(key, self.tasks[key]) for key in sorted(task.live_children or ())]

    def move(self, task: Task, now: states.TaskStatus) -> None:
        """Give a task a state, and conclude from one that may run, or did, that its parents of old are Done."""
        task.status = now
        if not task.unsure or now not in _PARENTS_ARE_DONE:
            return
        for parent in self.parents(task):
            if parent.status is None:
                parent.status = pb.STATUS_DONE
                for _, child in self.live_children(parent):
                    child.unsure -= 1

    def surface(self, task: Task) -> None:
        """Take note that a task of old changes now: it was not Done before, and its children waited for it."""
        for _, child in self.live_children(task):
            child.unsure -= 1
            child.pending += 1

    def end(self, key: str, task: Task) -> None:
        """Let go of a task that has ended."""
        for parent in self.parents(task):
            if parent.live_children:
                parent.live_children.discard(key)
                parent.live_children = parent.live_children or None
        task.parents = ()
        self.plans[task.plan].live.discard(key)
