"""What happened to a compute plan, as its watcher is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from orchestrator import protos as pb
from orchestrator.client.printing import printable
from orchestrator.client.shown import SHORT_KEY, Shown
from orchestrator.core.states import TASK_WORDS

Kind: TypeAlias = Literal["created", "updated", "disabled"]
Asset: TypeAlias = (
    pb.ComputePlan
    | pb.ComputeTask
    | pb.ComputeTaskOutputAsset
    | pb.Model
    | pb.Performance
    | pb.FailureReport
    | pb.ProfilingStep
)


@dataclass(frozen=True, repr=False)
class Event(Shown):
    """One thing that happened to a compute plan; `print` shows it as a line.

    match event:
        case Event(asset=pb.ComputeTask() as task):
            print(task.worker, task.status)
        case Event(asset=pb.Performance() as performance):
            print(performance.performance_value)

    Args:
        id: a UUID, unique.
        time: when, in UTC.
        kind: what happened to the asset.
        asset: as it was after that: the plan, a task, or what belongs to a task.
        reason: why, for people; may be empty.
    """

    id: str
    time: datetime
    kind: Kind
    asset: Asset
    reason: str

    def __str__(self) -> str:
        return f"{self.time.astimezone():%H:%M:%S} {self.told}"

    @property
    def told(self) -> str:
        """What happened, for people, without the time."""
        return printable(_what(self) + (f" ({self.reason})" if self.reason else ""))

    def facts(self) -> Mapping[str, object]:
        """Return what is shown."""
        return {"time": f"{self.time.astimezone():%Y-%m-%d %H:%M:%S}", "what": self.told}


def _what(event: Event) -> str:
    match event.asset:
        case pb.ComputePlan() as plan:
            return f"plan {plan.key} {_plan_state(plan, event.kind)}"
        case pb.ComputeTask() as task:
            return f"task {task.key[:SHORT_KEY]} rank {task.rank} {task.worker} {TASK_WORDS[task.status]}"
        case pb.Model() as model:
            verb = "registered" if event.kind == "created" else event.kind
            return f"task {model.compute_task_key[:SHORT_KEY]} model {model.key} {verb}"
        case pb.Performance() as measured:
            name, value = measured.compute_task_output_identifier, measured.performance_value
            return f"task {measured.compute_task_key[:SHORT_KEY]} {name} = {value:.6g}"
        case pb.FailureReport() as report:
            kind = "function" if report.asset_type == pb.FAILED_ASSET_FUNCTION else "task"
            error = pb.ErrorType.Name(report.error_type).removeprefix("ERROR_TYPE_")
            return f"{kind} {report.asset_key[:SHORT_KEY]} failed: {error} error reported by {report.owner}"
        case pb.ProfilingStep() as step:
            return f"task {step.asset_key[:SHORT_KEY]} {step.step} took {step.duration / 1e6:.3f} s"
        case pb.ComputeTaskOutputAsset(asset_kind=pb.ASSET_PERFORMANCE) as made:
            return f"task {made.compute_task_key[:SHORT_KEY]} {made.compute_task_output_identifier} is measured"
        case pb.ComputeTaskOutputAsset() as made:
            return f"task {made.compute_task_key[:SHORT_KEY]} {made.compute_task_output_identifier} is {made.asset_key}"


def _plan_state(plan: pb.ComputePlan, kind: str) -> str:
    if kind == "created":
        return "created"
    return (
        "cancelled" if plan.HasField("cancelation_date") else "failed" if plan.HasField("failure_date") else "renamed"
    )
