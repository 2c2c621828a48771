"""A trace that tells what a true orchestrator would, call after call; tests then tell lies in it."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator import protos as pb
from orchestrator.audit.history import check
from orchestrator.audit.violations import Violation
from orchestrator.core import states

CREATED, UPDATED, DISABLED = pb.EVENT_ASSET_CREATED, pb.EVENT_ASSET_UPDATED, pb.EVENT_ASSET_DISABLED
START = datetime(2030, 1, 1, tzinfo=UTC)
FIELDS = {
    pb.Organization: ("organization", pb.ASSET_ORGANIZATION),
    pb.DataManager: ("data_manager", pb.ASSET_DATA_MANAGER),
    pb.Function: ("function", pb.ASSET_FUNCTION),
    pb.ComputePlan: ("compute_plan", pb.ASSET_COMPUTE_PLAN),
    pb.ComputeTask: ("compute_task", pb.ASSET_COMPUTE_TASK),
    pb.ComputeTaskOutputAsset: ("compute_task_output_asset", pb.ASSET_COMPUTE_TASK_OUTPUT_ASSET),
    pb.Model: ("model", pb.ASSET_MODEL),
    pb.Performance: ("performance", pb.ASSET_PERFORMANCE),
    pb.FailureReport: ("failure_report", pb.ASSET_FAILURE_REPORT),
    pb.ProfilingStep: ("profiling_step", pb.ASSET_PROFILING_STEP),
}
FOLLOWED = {
    pb.FUNCTION_STATUS_BUILDING: pb.STATUS_WAITING_FOR_BUILDER_SLOT,
    pb.FUNCTION_STATUS_READY: pb.STATUS_BUILDING,
    pb.FUNCTION_STATUS_CANCELED: pb.STATUS_BUILDING,
    pb.FUNCTION_STATUS_FAILED: pb.STATUS_BUILDING,
}
TO_DO, DOING = pb.STATUS_WAITING_FOR_EXECUTOR_SLOT, pb.STATUS_EXECUTING
DONE, FAILED, CANCELED = pb.STATUS_DONE, pb.STATUS_FAILED, pb.STATUS_CANCELED


class Trace:
    """Events in the order of readers, and the assets as they are after them."""

    def __init__(self) -> None:
        self.events: list[pb.Event] = []
        self.now = Timestamp()
        self.functions: dict[str, pb.Function] = {}
        self.plans: dict[str, pb.ComputePlan] = {}
        self.tasks: dict[str, pb.ComputeTask] = {}
        self.models: dict[str, pb.Model] = {}
        self._calls = 0

    def call(self) -> None:
        """Begin the next call, a second after the last."""
        self._calls += 1
        self.now = Timestamp()
        self.now.FromDatetime(START + timedelta(seconds=self._calls))

    def tell(self, asset: Any, kind: int = UPDATED, key: str = "") -> None:
        """Tell of an asset as it is now."""
        field, asset_kind = FIELDS[type(asset)]
        event = pb.Event(id=str(uuid.uuid4()), asset_key=key or asset.key, asset_kind=asset_kind, event_kind=kind)
        event.channel = "channel"
        event.timestamp.CopyFrom(self.now)
        getattr(event, field).CopyFrom(asset)
        self.events.append(event)

    def function(self, *path: int) -> pb.Function:
        """Register a function, and move it along a path of states."""
        self.call()
        function = pb.Function(key=str(uuid.uuid4()), owner="org-1", name="function", creation_date=self.now)
        function.status = pb.FUNCTION_STATUS_WAITING
        self.functions[function.key] = function
        self.tell(function, CREATED)
        for status in path:
            self.move_function(function, status)
        return function

    def ready(self) -> pb.Function:
        return self.function(pb.FUNCTION_STATUS_BUILDING, pb.FUNCTION_STATUS_READY)

    def move_function(self, function: pb.Function, status: int, report: bool = False) -> None:
        self.call()
        if report:
            self.report(function, pb.FAILED_ASSET_FUNCTION)
        function.status = status
        self.tell(function)
        moved = [
            task
            for task in self.tasks.values()
            if task.function_key == function.key and task.status == FOLLOWED[status]
        ]
        for task in moved:
            followed = {
                pb.FUNCTION_STATUS_BUILDING: pb.STATUS_BUILDING,
                pb.FUNCTION_STATUS_READY: states.ready_status(self.pending(task)),
                pb.FUNCTION_STATUS_CANCELED: CANCELED,
                pb.FUNCTION_STATUS_FAILED: FAILED,
            }
            task.status = followed[status]
            self.tell(task)
        for key in dict.fromkeys(task.compute_plan_key for task in moved if task.status == FAILED):
            self.fail_plan(self.plans[key])

    def plan(self) -> pb.ComputePlan:
        self.call()
        plan = pb.ComputePlan(key=str(uuid.uuid4()), owner="org-1", name="plan", creation_date=self.now)
        self.plans[plan.key] = plan
        self.tell(plan, CREATED)
        return plan

    def rename(self, asset: Any) -> None:
        self.call()
        asset.name += "'"
        self.tell(asset)

    def task(self, plan: pb.ComputePlan, function: pb.Function, *parents: pb.ComputeTask) -> pb.ComputeTask:
        self.call()
        return self.register(plan, function, *parents)

    def register(self, plan: pb.ComputePlan, function: pb.Function, *parents: pb.ComputeTask) -> pb.ComputeTask:
        """Register a task in the call that goes on."""
        task = pb.ComputeTask(key=str(uuid.uuid4()), owner="org-1", worker="org-2", creation_date=self.now)
        task.compute_plan_key, task.function_key = plan.key, function.key
        for parent in parents:
            ref = pb.ParentTaskOutputRef(parent_task_key=parent.key, output_identifier="model")
            task.inputs.add(identifier="models", parent_task_output=ref)
        task.status = states.initial_status(function.status, (parent.status for parent in parents))
        self.tasks[task.key] = task
        self.tell(task, CREATED)
        return task

    def parents(self, task: pb.ComputeTask) -> list[pb.ComputeTask]:
        return [self.tasks[given.parent_task_output.parent_task_key] for given in task.inputs]

    def pending(self, task: pb.ComputeTask) -> int:
        return len({parent.key for parent in self.parents(task) if parent.status != DONE})

    def children(self, task: pb.ComputeTask) -> list[pb.ComputeTask]:
        return [child for child in self.tasks.values() if task in self.parents(child)]

    def move(self, task: pb.ComputeTask, status: int) -> None:
        """Move a task in a call of its own, and nothing else."""
        self.call()
        task.status = status
        self.tell(task)

    def start(self, task: pb.ComputeTask) -> None:
        self.move(task, DOING)

    def result(self, task: pb.ComputeTask, owner: str = "org-2", told: bool = True) -> pb.Model:
        """Register a model of a task in the call that goes on."""
        model = pb.Model(key=str(uuid.uuid4()), compute_task_key=task.key, owner=owner, creation_date=self.now)
        model.address.storage_address = "https://store.example/model"
        self.models[model.key] = model
        self.tell(model, CREATED)
        if told:
            self.tell_output(task, "model", model.key, pb.ASSET_MODEL)
        return model

    def score(self, task: pb.ComputeTask) -> None:
        """Register a performance of a task in the call that goes on."""
        score = pb.Performance(compute_task_key=task.key, compute_task_output_identifier="auc")
        score.creation_date.CopyFrom(self.now)
        self.tell(score, CREATED, f"{task.key}|auc")
        self.tell_output(task, "auc", f"{task.key}|auc", pb.ASSET_PERFORMANCE)
        self.tell(pb.ProfilingStep(asset_key=task.key, step="run", duration=1), CREATED, task.key)

    def tell_output(self, task: pb.ComputeTask, identifier: str, key: str, kind: int) -> None:
        filled = pb.ComputeTaskOutputAsset(compute_task_key=task.key, asset_key=key, asset_kind=kind)
        filled.compute_task_output_identifier = identifier
        self.tell(filled, CREATED, task.key)

    def complete(self, task: pb.ComputeTask, results: int = 1) -> None:
        self.call()
        for _ in range(results):
            self.result(task)
        self.score(task)
        task.status = DONE
        self.tell(task)
        for child in self.children(task):
            if child.status == pb.STATUS_WAITING_FOR_PARENT_TASKS and not self.pending(child):
                child.status = TO_DO
                self.tell(child)

    def run(self, task: pb.ComputeTask) -> pb.ComputeTask:
        self.start(task)
        self.complete(task)
        return task

    def stop(self, task: pb.ComputeTask, status: int, report: bool = False) -> None:
        self.call()
        if report:
            self.report(task, pb.FAILED_ASSET_COMPUTE_TASK)
        task.status = status
        self.tell(task)
        if status == FAILED:
            self.fail_plan(self.plans[task.compute_plan_key])

    def report(self, asset: Any, kind: int) -> None:
        report = pb.FailureReport(asset_key=asset.key, asset_type=kind, owner="org-2", creation_date=self.now)
        self.tell(report, CREATED, asset.key)

    def fail_plan(self, plan: pb.ComputePlan) -> None:
        if not (plan.HasField("failure_date") or plan.HasField("cancelation_date")):
            plan.failure_date.CopyFrom(self.now)
            self.tell(plan)

    def cancel(self, plan: pb.ComputePlan) -> None:
        self.call()
        plan.cancelation_date.CopyFrom(self.now)
        self.tell(plan)
        for task in self.tasks.values():
            if task.compute_plan_key == plan.key and task.status not in states.TERMINAL:
                task.status = CANCELED
                self.tell(task)

    def disable(self, model: pb.Model) -> None:
        self.call()
        model.ClearField("address")
        self.tell(model, DISABLED)


def violations(trace: Trace) -> list[Violation]:
    return list(check(trace.events))


def shift(trace: Trace, by: timedelta, *events: pb.Event) -> None:
    for event in events:
        event.timestamp.FromDatetime(event.timestamp.ToDatetime() + by)


def a_plan(trace: Trace) -> tuple[pb.ComputePlan, pb.Function]:
    return trace.plan(), trace.ready()
