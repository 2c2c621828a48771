"""Checks a trace: whether the events of a channel, in the order of readers, tell a history that can be true.

What lives is held in full. Of what has ended a small record is kept for each task, since something may still be
registered below it, and a fingerprint for each asset, since nothing may be created twice.

Where the beginning of the trace was forgotten, what is as old enters with the first event that tells of it. What no
event tells, as of a parent that was Done before, is taken as it must have been, or left open.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator import protos as pb
from orchestrator.audit import dues, snapshots
from orchestrator.audit.dues import Dues
from orchestrator.audit.lineage import Lineage, Plan, Task, old_task, parents_of
from orchestrator.audit.snapshots import wrong
from orchestrator.audit.violations import Rule, Violation
from orchestrator.core import states
from orchestrator.core.kinds import OWN_KINDS

_TO_DO = pb.STATUS_WAITING_FOR_EXECUTOR_SLOT
_WAITING = pb.STATUS_WAITING_FOR_PARENT_TASKS
_BEGINS = frozenset({_TO_DO, pb.STATUS_EXECUTING})
_NOT_BEGUN = frozenset({pb.STATUS_WAITING_FOR_BUILDER_SLOT, pb.STATUS_BUILDING, _WAITING, _TO_DO})
_FUNCTION_AT_LEAST = {
    pb.STATUS_BUILDING: pb.FUNCTION_STATUS_BUILDING,
    _WAITING: pb.FUNCTION_STATUS_READY,
    _TO_DO: pb.FUNCTION_STATUS_READY,
}


def check(events: Iterable[pb.Event], forgotten_until: datetime | None = None) -> Iterator[Violation]:
    """Yield what is wrong with a trace.

    Args:
        events: those of one channel, from the first that is kept on, in the order of readers (`SubscribeToEvents`);
            the last one ends a call.
        forgotten_until: see `History`.
    """
    history = History(forgotten_until)
    for event in events:
        yield from history.see(event)
    yield from history.end()


class History:
    """A trace as far as it was read: let it see one event after another, then end it.

    Args:
        forgotten_until: the latest time that a forgotten event bears: what was created until then may be known
            without having been told; None where the trace is whole.
    """

    def __init__(self, forgotten_until: datetime | None = None) -> None:
        self._until = _nanoseconds(forgotten_until) if forgotten_until else None
        self._assumed: set[tuple[int, str]] = set()
        self._snapshots = snapshots.Snapshots()
        self._dues = Dues()
        self._functions: dict[str, states.FunctionStatus] = {}
        self._lineage = Lineage()
        self._plans, self._tasks = self._lineage.plans, self._lineage.tasks

    def see(self, event: pb.Event) -> list[Violation]:
        """Take the next event; return what is wrong with it, or with the call that ended before it."""
        if event.asset_kind >= OWN_KINDS:
            # It changes nothing that the contract knows, but may begin a call.
            return list(self._dues.meet(event, ()))
        asset = snapshots.of(event)
        due = dues.of(asset)
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
        if created and (event.asset_kind, event.asset_key) in self._assumed:
            found.append(wrong(Rule.KNOWN_ASSET, event, "it was referred to before it was created"))
        old = not created and self._is_old(asset)
        if not created and not known and not old:
            found.append(wrong(Rule.KNOWN_ASSET, event, "it was changed before it was created"))
        found += self._snapshots.see(event, asset)
        match asset:
            case pb.ComputePlan():
                found += self._see_plan(event, asset)
            case pb.Function():
                found += self._see_function(event, asset)
            case pb.ComputeTask() if created:
                found += self._see_new_task(event, asset)
            case pb.ComputeTask():
                if not known:
                    self._connect(asset, self._tasks.get(asset.key) or old_task())
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

    def _is_old(self, asset: Any) -> bool:
        return self._until is not None and asset.creation_date.ToNanoseconds() <= self._until

    def _see_plan(self, event: pb.Event, asset: pb.ComputePlan) -> Iterator[Violation]:
        plan = self._plans.setdefault(asset.key, Plan())
        dates = (asset.cancelation_date.SerializeToString(), asset.failure_date.SerializeToString())
        ends = [getattr(asset, name) for name in ("cancelation_date", "failure_date") if asset.HasField(name)]
        if any(plan.dates):
            if dates != plan.dates:
                yield wrong(Rule.END, event, "it had ended, and its date of cancellation or failure has changed")
            return
        if not ends:
            return
        if any(date != event.timestamp and (self._until or 0) < date.ToNanoseconds() for date in ends):
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
        task = Task(asset.status)
        known = self._connect(asset, task)
        plan, function = self._plans[task.plan], self._functions.get(task.function)
        if not known:
            words = "a parent of it, its compute plan or its function was not created before it"
            yield wrong(Rule.KNOWN_ASSET, event, words)
        elif plan.cancelled:
            words = f"it was registered although its compute plan {task.plan} had been cancelled"
            yield wrong(Rule.NOTHING_AFTER_CANCELLATION, event, words)
        elif task.pending and asset.status in _BEGINS:
            words = f"it begins as {_state(asset.status)} while {task.pending} of its parents are not Done"
            yield wrong(Rule.PARENTS_FIRST, event, words)
        elif function is not None and function in states.FUNCTION_TRANSITIONS and not task.unsure:
            told = (parent.status for parent in self._lineage.parents(task))
            expected = states.initial_status(function, (status for status in told if status is not None))
            if asset.status != expected:
                words = f"it begins as {_state(asset.status)}, not as {_state(expected)}"
                yield wrong(Rule.FIRST_STATE, event, words)
        self._lineage.move(task, asset.status)
        if asset.status in states.TERMINAL:
            self._lineage.end(asset.key, task)

    def _connect(self, asset: pb.ComputeTask, task: Task) -> bool:
        """Put a task among those that it refers to; return whether all of them are known, or may be old."""
        named = [(pb.ASSET_COMPUTE_PLAN, asset.compute_plan_key), (pb.ASSET_FUNCTION, asset.function_key)]
        named += [(pb.ASSET_COMPUTE_TASK, key) for key in parents_of(asset)]
        unknown = [name for name in named if name not in self._snapshots]
        old = unknown if self._until is not None else []
        self._assumed.update(old)
        self._lineage.connect(asset, task, [key for kind, key in old if kind == pb.ASSET_COMPUTE_TASK])
        return unknown == old

    def _see_task(self, event: pb.Event, asset: pb.ComputeTask) -> Iterator[Violation]:
        task, now = self._tasks[asset.key], asset.status
        if task.status in states.TERMINAL:
            again = task.status == now == pb.STATUS_DONE
            words = f"it was {_state(task.status)}, and becomes {_state(now)}"
            yield wrong(Rule.ONE_COMPLETION if again else Rule.END, event, words)
            return
        if task.status is None:
            self._lineage.surface(task)
        yield from self._check_move(event, task, now)
        self._lineage.move(task, now)
        if now == pb.STATUS_DONE:
            self._release_children(event, task)
        told = (pb.ASSET_COMPUTE_PLAN, task.plan) in self._snapshots
        if now == pb.STATUS_FAILED and told and not any(self._plans[task.plan].dates):
            words = f"its compute plan {task.plan} bears no date of failure although it failed"
            self._dues.expect(("plan", task.plan), wrong(Rule.PLAN_FAILS, event, words))
        if now in states.TERMINAL:
            self._lineage.end(asset.key, task)

    def _check_move(self, event: pb.Event, task: Task, now: states.TaskStatus) -> Iterator[Violation]:
        becomes = f"it becomes {_state(now)}"
        needed = _FUNCTION_AT_LEAST.get(now)
        if self._plans[task.plan].cancelled and now != pb.STATUS_CANCELED:
            words = f"{becomes} although its compute plan {task.plan} had been cancelled"
            yield wrong(Rule.NOTHING_AFTER_CANCELLATION, event, words)
        elif task.status == now == pb.STATUS_EXECUTING:
            yield wrong(Rule.ONE_ATTEMPT, event, f"{becomes} again, without having been To do in between")
        elif task.status is not None and now not in states.TASK_TRANSITIONS.get(task.status, ()):
            yield wrong(Rule.TRANSITION, event, f"{becomes}, and was {_state(task.status)}")
        elif task.pending and now in _BEGINS:
            yield wrong(Rule.PARENTS_FIRST, event, f"{becomes} while {task.pending} of its parents are not Done")
        elif needed and self._functions.get(task.function) not in (needed, None):
            words = f"{becomes} before its function {task.function} is {_function_state(needed)}"
            yield wrong(Rule.FUNCTION_FIRST, event, words)
        elif now == _WAITING and not task.pending and not task.unsure:
            yield wrong(Rule.CHILDREN_RELEASED, event, f"{becomes} for its parents although all are Done")

    def _release_children(self, event: pb.Event, task: Task) -> None:
        for key, child in self._lineage.live_children(task):
            child.pending -= 1
            if not child.pending and not child.unsure and child.status == _WAITING:
                words = f"it did not become To do when the last of its parents, {event.asset_key}, was Done"
                otherwise = Violation(Rule.CHILDREN_RELEASED, key, event.id, words)
                self._dues.expect(("task", key, str(_TO_DO)), otherwise)

    def _see_result(self, event: pb.Event, asset: pb.Model | pb.Performance) -> Iterator[Violation]:
        words = f"no event of the call tells which output of task {asset.compute_task_key} it is"
        self._dues.expect(("output", event.asset_key), wrong(Rule.OUTPUT_TOLD, event, words))
        task = self._tasks.get(asset.compute_task_key)
        if task is None or task.status is None:
            if self._until is None:
                words = f"its task {asset.compute_task_key} was not created before it"
                yield wrong(Rule.KNOWN_ASSET, event, words)
            self._assumed.add((pb.ASSET_COMPUTE_TASK, asset.compute_task_key))
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
        if task and task.status and (task.status not in states.TERMINAL or task.live_children or not task.had_children):
            shown = f"task {asset.compute_task_key} is {_state(task.status)}"
            live = len(task.live_children or ())
            children = f"{live} of its children have not ended" if task.had_children else "childless"
            yield wrong(Rule.DISABLED_LAST, event, f"it was disabled too early: its {shown}, {children}")

    def _see_report(self, event: pb.Event, asset: pb.FailureReport) -> Iterator[Violation]:
        of_function = asset.asset_type == pb.FAILED_ASSET_FUNCTION
        task = self._tasks.get(asset.asset_key)
        if task and task.plan and self._plans[task.plan].cancelled:
            words = f"a report was accepted although compute plan {task.plan} had been cancelled"
            yield wrong(Rule.NOTHING_AFTER_CANCELLATION, event, words)
            return
        noun, failed = ("function", pb.FUNCTION_STATUS_FAILED) if of_function else ("task", pb.STATUS_FAILED)
        words = f"a failure of the {noun} was reported, and it did not become Failed in the same call"
        self._dues.expect((noun, asset.asset_key, str(failed)), wrong(Rule.REPORT_OF_FAILURE, event, words))


def _state(status: int | None) -> str:
    return states.TASK_WORDS.get(status, f"state {status}")  # type: ignore[call-overload,no-any-return]


def _nanoseconds(moment: datetime) -> int:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp.ToNanoseconds()


def _function_state(status: int) -> str:
    name = pb.FunctionStatus.DESCRIPTOR.values_by_number.get(status)
    return name.name.removeprefix("FUNCTION_STATUS_") if name else f"state {status}"
