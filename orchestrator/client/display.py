"""Shows a compute plan while it runs: a bar in a terminal, a line for each event elsewhere."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.text import Text

from orchestrator import protos as pb
from orchestrator.client.connection import Client, new_watch
from orchestrator.client.plan import Plan
from orchestrator.client.printing import printable
from orchestrator.client.progress import Progress
from orchestrator.client.watching import PATIENCE, Event, Watch
from orchestrator.core.states import TASK_WORDS

_SHORT_KEY = 8


def show(client: Client, plan: Plan[Any] | str, console: Console | None = None, patience: float = PATIENCE) -> Progress:
    """Show a compute plan until it has ended, and return how it did; the arguments and errors are those of `watch`.

    Args:
        client: who watches.
        plan: the plan, or its key.
        console: where; the standard output by default.
        patience: seconds to try when the connection is lost.
    """
    console = console or Console()
    watch = new_watch(plan, patience)
    if console.is_terminal:
        _show_bar(client, watch, console)
    else:
        for event in client.follow(watch):
            if line := describe(event):
                console.print(line, soft_wrap=True)
    return watch.progress


def _show_bar(client: Client, watch: Watch, console: Console) -> None:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(complete_style="cyan", finished_style="green"),
        TextColumn("{task.fields[counts]}"),
    )
    with Bars(*columns, TimeElapsedColumn(), console=console) as bars:
        bar = bars.add_task(watch.key[:_SHORT_KEY], total=None, counts="")
        for event in client.follow(watch):
            progress = watch.progress
            counts = ", ".join(f"{word} {number}" for word, number in progress.counts.items() if number)
            name = printable(progress.plan.name if progress.plan else watch.key)
            bars.update(bar, description=name, total=len(progress.tasks) or None)
            bars.update(bar, completed=progress.counts["Done"], counts=counts)
            # The bar counts what goes well; lines are for what one wants to read.
            if isinstance(event.asset, pb.Performance | pb.FailureReport) and (line := describe(event)):
                console.print(line, soft_wrap=True)


def describe(event: Event) -> Text | None:
    """Return an event as a line for people; None where another event says the same."""
    match event.asset:
        case pb.ComputePlan() as plan:
            what = f"plan {plan.key} {_plan_state(plan, event.kind)}"
        case pb.ComputeTask() as task:
            what = f"task {task.key[:_SHORT_KEY]} rank {task.rank} {task.worker} {TASK_WORDS[task.status]}"
        case pb.Model() as model:
            verb = "registered" if event.kind == "created" else event.kind
            what = f"task {model.compute_task_key[:_SHORT_KEY]} model {model.key} {verb}"
        case pb.Performance() as measured:
            name, value = measured.compute_task_output_identifier, measured.performance_value
            what = f"task {measured.compute_task_key[:_SHORT_KEY]} {name} = {value:.6g}"
        case pb.FailureReport() as report:
            kind = "function" if report.asset_type == pb.FAILED_ASSET_FUNCTION else "task"
            error = pb.ErrorType.Name(report.error_type).removeprefix("ERROR_TYPE_")
            what = f"{kind} {report.asset_key[:_SHORT_KEY]} failed: {error} error reported by {report.owner}"
        case pb.ProfilingStep() as step:
            what = f"task {step.asset_key[:_SHORT_KEY]} {step.step} took {step.duration / 1e6:.3f} s"
        case _:
            return None
    reason = f" ({event.reason})" if event.reason else ""
    return Text(f"{event.time.astimezone():%H:%M:%S} {printable(what + reason)}")


def _plan_state(plan: pb.ComputePlan, kind: str) -> str:
    if kind == "created":
        return "created"
    return (
        "cancelled" if plan.HasField("cancelation_date") else "failed" if plan.HasField("failure_date") else "renamed"
    )
