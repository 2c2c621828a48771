"""How far a compute plan has come at each organization, from its events alone."""

from dataclasses import dataclass, field
from datetime import datetime

from orchestrator import protos as pb
from orchestrator.client import Event, Progress
from orchestrator.core.states import TASK_WORDS, TERMINAL


@dataclass
class Share:
    """One organization's part of a plan.

    Args:
        total: tasks that it runs.
        ended: those that are Done, Failed or Cancelled.
        doing: key of each task that it runs now -> since when.
    """

    total: int = 0
    ended: int = 0
    doing: dict[str, datetime] = field(default_factory=dict)


class Tracker:
    """What the events said so far.

    Args:
        functions: key -> name of the functions that the tasks run.

    Attributes:
        progress: the plan and its tasks.
        shares: organization -> its part, in the order in which their tasks were registered.
        attempts: how often a task was begun.
        scores: organization -> identifier -> what its tests measured.
        begun: when the plan was registered.
        last: when the last event happened.
    """

    def __init__(self, functions: dict[str, str]) -> None:
        self._functions = functions
        self.progress = Progress()
        self.shares: dict[str, Share] = {}
        self.attempts = 0
        self.scores: dict[str, dict[str, float]] = {}
        self.begun: datetime | None = None
        self.last: datetime | None = None

    @property
    def failed(self) -> list[pb.ComputeTask]:
        """The tasks that failed."""
        return [task for task in self.progress.tasks.values() if task.status == pb.STATUS_FAILED]

    def label(self, task: pb.ComputeTask) -> str:
        """Return what people call a task, as in `train, round 2`."""
        name = self._functions.get(task.function_key, "task")
        number = task.metadata.get("round")
        return f"{name}, round {number}" if number else name

    def take(self, event: Event) -> str | None:
        """Take note of the plan's next event; return a line for people if it ended a task."""
        self.begun = self.begun or event.time
        self.last = event.time
        match event.asset:
            case pb.ComputePlan() as plan:
                self.progress.plan = plan
            case pb.ComputeTask() as task:
                return self._take_task(task, event)
            case pb.Performance() as performance:
                worker = self.progress.tasks[performance.compute_task_key].worker
                identifier = performance.compute_task_output_identifier
                self.scores.setdefault(worker, {})[identifier] = performance.performance_value
        return None

    def _take_task(self, task: pb.ComputeTask, event: Event) -> str | None:
        before = self.progress.tasks.get(task.key)
        self.progress.see(task, event.kind == "created")
        share = self.shares.setdefault(task.worker, Share())
        if before is None:
            share.total += 1
        if before is not None and before.status == task.status:
            return None
        since = share.doing.pop(task.key, None)
        if task.status == pb.STATUS_EXECUTING:
            share.doing[task.key] = event.time
            self.attempts += 1
        if task.status not in TERMINAL:
            return None
        share.ended += 1
        ended = sum(each.ended for each in self.shares.values())
        took = f" after {(event.time - since).total_seconds():.1f} s" if since else ""
        what = f"{task.worker}: {self.label(task)}: {TASK_WORDS[task.status]}{took}"
        return f"{ended:>3} of {len(self.progress.tasks)}  {what}"
