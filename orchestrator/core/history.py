"""Checks a trace: whether the events of a channel, in the order of readers, tell a history that can be true.

What lives is held in full. Of what has ended a small record is kept for each task, since something may still be
registered below it, and a fingerprint for each asset, since nothing may be created twice.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from sys import intern

from orchestrator import protos as pb
from orchestrator.core import snapshots, states
from orchestrator.core.dues import Due, Dues
from orchestrator.core.snapshots import wrong
from orchestrator.core.violations import Rule, Violation

_TO_DO = pb.STATUS_WAITING_FOR_EXECUTOR_SLOT
_WAITING = pb.STATUS_WAITING_FOR_PARENT_TASKS
_BEGINS = frozenset({_TO_DO, pb.STATUS_EXECUTING})
_NOT_BEGUN = frozenset({pb.STATUS_WAITING_FOR_BUILDER_SLOT, pb.STATUS_BUILDING, _WAITING, _TO_DO})
_FUNCTION_AT_LEAST = {
    pb.STATUS_BUILDING: pb.FUNCTION_STATUS_BUILDING,
    _WAITING: pb.FUNCTION_STATUS_READY,
    _TO_DO: pb.FUNCTION_STATUS_READY,
}


def check(events: Iterable[pb.Event]) -> Iterator[Violation]:
    """Yield what is wrong with a whole trace.

    Args:
        events: those of one channel, from the first on, in the order of readers (`SubscribeToEvents`); the last one
            ends a call.
    """
    history = History()
    for event in events:
        yield from history.see(event)
    yield from history.end()


def parents_of(task: pb.ComputeTask) -> tuple[str, ...]:
    """Return the keys of a task's parents, each once, in the order of its inputs."""
    given = (each.parent_task_output.parent_task_key for each in task.inputs if each.HasField("parent_task_output"))
    return tuple(dict.fromkeys(given))


@dataclass(slots=True)
class _Plan:
    dates: tuple[bytes, bytes] = (b"", b"")
    cancelled: bool = False
    live: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Task:
    status: states.TaskStatus
    plan: str
    function: str
    worker: str
    parents: tuple[str, ...] = ()
    pending: int = 0
    live_children: set[str] | None = None
    had_children: bool = False


class History:
    """A trace as far as it was read: let it see one event after another, then end it."""

    def __init__(self) -> None:
        self._snapshots = snapshots.Snapshots()
        self._dues = Dues()
        self._functions: dict[str, states.FunctionStatus] = {}
        self._plans: dict[str, _Plan] = {}
        self._tasks: dict[str, _Task] = {}

    def see(self, event: pb.Event) -> list[Violation]:
        """Take the next event; return what is wrong with it, or with the call that ended before it."""
        asset = snapshots.of(event)
        due = _due(asset)
        found = list(self._dues.meet(event, due))
        was_due = self._dues.settle(due)
        if asset is None:
            return [*found, wrong(Rule.SAME_ASSET, event, "the snapshot is not of the asset that the event names")]
        if isinstance(asset, pb.ComputeTaskOutputAsset):
            if not was_due:
                words = f"it is told to be asset {asset.asset_key}, which the same call did not create"
                found.append(wrong(Rule.OUTPUT_TOLD, event, words))
            return found
        if isinstance(asset, pb.ProfilingStep):
            return found
        created = event.event_kind == pb.EVENT_ASSET_CREATED
        known = (event.asset_kind, event.asset_key) in self._snapshots
        if created and known:
            return [*found, wrong(Rule.CREATED_ONCE, event, "it was created before")]
        if not created and not known:
            found.append(wrong(Rule.KNOWN_ASSET, event, "it was changed before it was created"))
        found += self._snapshots.see(event, asset)
        match asset:
            case pb.ComputePlan():
                found += self._see_plan(event, asset)
            case pb.Function():
                found += self._see_function(event, asset)
            case pb.ComputeTask() if created:
                found += self._see_new_task(event, asset)
            case pb.ComputeTask() if known:
                found += self._see_task(event, asset)
            case pb.Model() | pb.Performance() if created:
                found += self._see_result(event, asset)
            case pb.Model() if known and event.event_kind == pb.EVENT_ASSET_DISABLED:
                found += self._see_disabled(event, asset)
            case pb.FailureReport():
                found += self._see_report(event, asset)
        return found

    def end(self) -> list[Violation]:
        """End the trace where a call has ended; return what was still due in it."""
        return list(self._dues.end())

    def _see_plan(self, event: pb.Event, asset: pb.ComputePlan) -> Iterator[Violation]:
        plan = self._plans.setdefault(asset.key, _Plan())
        dates = (asset.cancelation_date.SerializeToString(), asset.failure_date.SerializeToString())
        ends = [getattr(asset, name) for name in ("cancelation_date", "failure_date") if asset.HasField(name)]
        if any(plan.dates):
            if dates != plan.dates:
                yield wrong(Rule.END, event, "it had ended, and its date of cancellation or failure has changed")
            return
        if not ends:
            return
        if any(date != event.timestamp for date in ends):
            yield wrong(Rule.ONE_TIME, event, "it bears another date of its end than the event")
        plan.dates, plan.cancelled = dates, asset.HasField("cancelation_date")
        for key in sorted(plan.live) if plan.cancelled else ():
            if self._tasks[key].status in _NOT_BEGUN:
                words = f"it was not cancelled with its compute plan {asset.key}"
                otherwise = Violation(Rule.PLAN_ENDS_ITS_TASKS, key, event.id, words)
                self._dues.expect(("task", key, str(pb.STATUS_CANCELED)), otherwise)

    def _see_function(self, event: pb.Event, asset: pb.Function) -> Iterator[Violation]:
        before, now = self._functions.get(asset.key), asset.status
        if event.event_kind == pb.EVENT_ASSET_CREATED:
            if now != pb.FUNCTION_STATUS_WAITING:
                yield wrong(Rule.FUNCTION_TRANSITION, event, f"it begins as {_function_state(now)}, not as WAITING")
        elif before is not None and now not in (before, *states.FUNCTION_TRANSITIONS.get(before, ())):
            words = f"it was {_function_state(before)}, and becomes {_function_state(now)}"
            yield wrong(Rule.FUNCTION_TRANSITION, event, words)
        self._functions[asset.key] = now

    def _see_new_task(self, event: pb.Event, asset: pb.ComputeTask) -> Iterator[Violation]:
        # One string for all the tasks of a plan: they are held for as long as the trace goes on.
        plan_key, function_key, worker = map(intern, (asset.compute_plan_key, asset.function_key, asset.worker))
        task = _Task(asset.status, plan_key, function_key, worker)
        wanted = parents_of(asset)
        task.parents = tuple(key for key in wanted if key in self._tasks)
        parents = [self._tasks[key] for key in task.parents]
        task.pending = sum(parent.status != pb.STATUS_DONE for parent in parents)
        plan, function = self._plans.setdefault(task.plan, _Plan()), self._functions.get(task.function)
        if len(parents) < len(wanted) or function is None or (pb.ASSET_COMPUTE_PLAN, task.plan) not in self._snapshots:
            words = "a parent of it, its compute plan or its function was not created before it"
            yield wrong(Rule.KNOWN_ASSET, event, words)
        elif plan.cancelled:
            words = f"it was registered although its compute plan {task.plan} had been cancelled"
            yield wrong(Rule.NOTHING_AFTER_CANCELLATION, event, words)
        elif function in states.FUNCTION_TRANSITIONS:
            expected = states.initial_status(function, (parent.status for parent in parents))
            if task.status != expected:
                early = task.pending and task.status in _BEGINS
                words = f"it begins as {_state(task.status)}, not as {_state(expected)}"
                yield wrong(Rule.PARENTS_FIRST if early else Rule.FIRST_STATE, event, words)
        self._tasks[asset.key] = task
        plan.live.add(asset.key)
        for parent in parents:
            parent.had_children = True
            parent.live_children = parent.live_children or set()
            parent.live_children.add(asset.key)
        if task.status in states.TERMINAL:
            self._end_task(asset.key, task)

    def _see_task(self, event: pb.Event, asset: pb.ComputeTask) -> Iterator[Violation]:
        task, now = self._tasks[asset.key], asset.status
        if task.status in states.TERMINAL:
            again = task.status == now == pb.STATUS_DONE
            words = f"it was {_state(task.status)}, and becomes {_state(now)}"
            yield wrong(Rule.ONE_COMPLETION if again else Rule.END, event, words)
            return
        yield from self._check_move(event, task, now)
        task.status = now
        if now == pb.STATUS_DONE:
            self._release_children(event, task)
        if now == pb.STATUS_FAILED and not any(self._plans[task.plan].dates):
            words = f"its compute plan {task.plan} bears no date of failure although it failed"
            self._dues.expect(("plan", task.plan), wrong(Rule.PLAN_FAILS, event, words))
        if now in states.TERMINAL:
            self._end_task(asset.key, task)

    def _check_move(self, event: pb.Event, task: _Task, now: states.TaskStatus) -> Iterator[Violation]:
        becomes = f"it becomes {_state(now)}"
        needed = _FUNCTION_AT_LEAST.get(now)
        if self._plans[task.plan].cancelled and now != pb.STATUS_CANCELED:
            words = f"{becomes} although its compute plan {task.plan} had been cancelled"
            yield wrong(Rule.NOTHING_AFTER_CANCELLATION, event, words)
        elif task.status == now == pb.STATUS_EXECUTING:
            yield wrong(Rule.ONE_ATTEMPT, event, f"{becomes} again, without having been To do in between")
        elif now not in states.TASK_TRANSITIONS.get(task.status, ()):
            yield wrong(Rule.TRANSITION, event, f"{becomes}, and was {_state(task.status)}")
        elif task.pending and now in _BEGINS:
            yield wrong(Rule.PARENTS_FIRST, event, f"{becomes} while {task.pending} of its parents are not Done")
        elif needed and self._functions.get(task.function) not in (needed, None):
            words = f"{becomes} before its function {task.function} is {_function_state(needed)}"
            yield wrong(Rule.FUNCTION_FIRST, event, words)
        elif now == _WAITING and not task.pending:
            yield wrong(Rule.CHILDREN_RELEASED, event, f"{becomes} for its parents although all are Done")

    def _release_children(self, event: pb.Event, task: _Task) -> None:
        for key in sorted(task.live_children or ()):
            child = self._tasks[key]
            child.pending -= 1
            if not child.pending and child.status == _WAITING:
                words = f"it did not become To do when the last of its parents, {event.asset_key}, was Done"
                otherwise = Violation(Rule.CHILDREN_RELEASED, key, event.id, words)
                self._dues.expect(("task", key, str(_TO_DO)), otherwise)

    def _end_task(self, key: str, task: _Task) -> None:
        for parent in map(self._tasks.__getitem__, task.parents):
            if parent.live_children:
                parent.live_children.discard(key)
                parent.live_children = parent.live_children or None
        task.parents = ()
        self._plans[task.plan].live.discard(key)

    def _see_result(self, event: pb.Event, asset: pb.Model | pb.Performance) -> Iterator[Violation]:
        words = f"no event of the call tells which output of task {asset.compute_task_key} it is"
        self._dues.expect(("output", event.asset_key), wrong(Rule.OUTPUT_TOLD, event, words))
        task = self._tasks.get(asset.compute_task_key)
        if task is None:
            words = f"its task {asset.compute_task_key} was not created before it"
            yield wrong(Rule.KNOWN_ASSET, event, words)
            return
        shown = f"it was accepted as a result of task {asset.compute_task_key}"
        if task.status == pb.STATUS_CANCELED or self._plans[task.plan].cancelled:
            yield wrong(Rule.NOTHING_AFTER_CANCELLATION, event, f"{shown} although that or its plan was cancelled")
        elif task.status != pb.STATUS_EXECUTING:
            yield wrong(Rule.RESULTS_WHILE_DOING, event, f"{shown}, which was {_state(task.status)}")
        if isinstance(asset, pb.Model) and asset.owner != task.worker:
            yield wrong(
                Rule.MODEL_OWNER, event, f"it belongs to {asset.owner}; the worker of its task is {task.worker}"
            )

    def _see_disabled(self, event: pb.Event, asset: pb.Model) -> Iterator[Violation]:
        task = self._tasks.get(asset.compute_task_key)
        if task and (task.status not in states.TERMINAL or task.live_children or not task.had_children):
            shown = f"task {asset.compute_task_key} is {_state(task.status)}"
            live = len(task.live_children or ())
            children = f"{live} of its children have not ended" if task.had_children else "childless"
            yield wrong(Rule.DISABLED_LAST, event, f"it was disabled too early: its {shown}, {children}")

    def _see_report(self, event: pb.Event, asset: pb.FailureReport) -> Iterator[Violation]:
        of_function = asset.asset_type == pb.FAILED_ASSET_FUNCTION
        task = self._tasks.get(asset.asset_key)
        if task and self._plans[task.plan].cancelled:
            words = f"a report was accepted although compute plan {task.plan} had been cancelled"
            yield wrong(Rule.NOTHING_AFTER_CANCELLATION, event, words)
            return
        noun, failed = ("function", pb.FUNCTION_STATUS_FAILED) if of_function else ("task", pb.STATUS_FAILED)
        words = f"a failure of the {noun} was reported, and it did not become Failed in the same call"
        self._dues.expect((noun, asset.asset_key, str(failed)), wrong(Rule.REPORT_OF_FAILURE, event, words))


def _due(asset: object) -> Due:
    match asset:
        case pb.ComputeTask():
            return "task", asset.key, str(asset.status)
        case pb.Function():
            return "function", asset.key, str(asset.status)
        case pb.ComputePlan() if asset.HasField("cancelation_date") or asset.HasField("failure_date"):
            return "plan", asset.key
        case pb.ComputeTaskOutputAsset():
            return "output", asset.asset_key
    return ()


def _state(status: int) -> str:
    return states.TASK_WORDS.get(status, f"state {status}")  # type: ignore[call-overload,no-any-return]


def _function_state(status: int) -> str:
    name = pb.FunctionStatus.DESCRIPTOR.values_by_number.get(status)
    return name.name.removeprefix("FUNCTION_STATUS_") if name else f"state {status}"
