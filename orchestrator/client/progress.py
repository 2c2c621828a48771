"""How far a compute plan has come, by what is known of it and of its tasks."""

from collections import Counter
from collections.abc import Iterable, Mapping

from orchestrator import protos as pb
from orchestrator.core.states import TASK_WORDS, TERMINAL


def in_words(statuses: "Mapping[pb.ComputeTaskStatus.ValueType, int]") -> Mapping[str, int]:
    """Return how many tasks are in each state, in people's words and in the order of a task's life."""
    counts = dict.fromkeys(TASK_WORDS.values(), 0)
    for status, number in statuses.items():
        counts[TASK_WORDS[status]] += number
    return counts


def state_of(plan: pb.ComputePlan | None, counts: Mapping[str, int], complete: bool = True) -> str:
    """Return what people call the state of a compute plan: Waiting, Doing, Done, Failed or Cancelled.

    Args:
        plan: None while it is not known.
        counts: how many tasks are in each state.
        complete: whether these are all that it will have.
    """
    if plan is not None and plan.HasField("cancelation_date"):
        return "Cancelled"
    if (plan is not None and plan.HasField("failure_date")) or counts["Failed"]:
        return "Failed"
    if counts["Cancelled"]:
        return "Cancelled"
    if complete and counts["Done"] and counts["Done"] == sum(counts.values()):
        return "Done"
    return "Doing" if counts["Doing"] or counts["Done"] else "Waiting"


class Progress:
    """A compute plan and its tasks, as they were last seen.

    Args:
        plan: the compute plan; None while it is not known.
        tasks: of the plan.
        expected: keys of tasks that it will have; it is not Done before these are.
    """

    def __init__(
        self,
        plan: pb.ComputePlan | None = None,
        tasks: Iterable[pb.ComputeTask] = (),
        expected: Iterable[str] = (),
    ) -> None:
        self.plan = plan
        self.tasks: dict[str, pb.ComputeTask] = {}
        self._missing = set(expected)
        self._statuses: Counter[pb.ComputeTaskStatus.ValueType] = Counter()
        self._stillborn = False
        for task in tasks:
            self.see(task)

    def see(self, task: pb.ComputeTask, created: bool = False) -> None:
        """Take note of a task.

        Args:
            task: as it is now.
            created: whether it was just registered.
        """
        before = self.tasks.get(task.key)
        if before is not None:
            self._statuses[before.status] -= 1
        self.tasks[task.key] = task
        self._statuses[task.status] += 1
        self._missing.discard(task.key)
        self._stillborn |= created and task.status == pb.STATUS_FAILED

    @property
    def counts(self) -> Mapping[str, int]:
        """How many tasks are in each state, in people's words and in the order of a task's life."""
        return in_words(self._statuses)

    @property
    def state(self) -> str:
        """Waiting, Doing, Done, Failed or Cancelled."""
        return state_of(self.plan, self.counts, complete=not self._missing)

    @property
    def ended(self) -> bool:
        """Whether the plan is Done, or was cancelled, or has failed: nothing that can come makes it Done."""
        plan, statuses = self.plan, self._statuses
        if plan is not None and plan.HasField("cancelation_date"):
            return all(status in TERMINAL for status, number in statuses.items() if number)
        if plan is not None and plan.HasField("failure_date"):
            return True
        if self._missing:
            return False
        # A task that fails makes its plan fail with it, so that is yet to come; one that was born so does not.
        if statuses[pb.STATUS_CANCELED] or self._stillborn:
            return True
        return bool(self.tasks) and statuses[pb.STATUS_DONE] == len(self.tasks)
