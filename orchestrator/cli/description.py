"""All that `task show` says about one task."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator import protos as pb
from orchestrator.cli import declines, reading, tables
from orchestrator.client import Client, failures, lists
from orchestrator.core import permissions
from orchestrator.core.states import TASK_WORDS

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Description:
    """A task and what belongs to it.

    Args:
        task: the task.
        function: what it runs.
        history: its own events, in order.
        models: output identifier and model, for each that it produced.
        performances: that it measured.
        failure: why it failed, where it was reported.
        declined: why its worker does not run it, where that is so.
        steps: how long the parts of its attempts took.
    """

    task: pb.ComputeTask
    function: pb.Function
    history: list[pb.Event]
    models: list[tuple[str, pb.Model]]
    performances: list[pb.Performance]
    failure: pb.FailureReport | None
    declined: pb.Decline | None
    steps: list[pb.ProfilingStep]

    @property
    def attempts(self) -> int:
        """How often it was begun."""
        return sum(event.compute_task.status == pb.STATUS_EXECUTING for event in self.history)


def read(client: Client, task: pb.ComputeTask) -> Description:
    """Ask the orchestrator for what belongs to a task.

    Raises:
        CallError: there is no answer.
    """
    models = client.models.GetComputeTaskOutputModels(pb.GetComputeTaskModelsParam(compute_task_key=task.key)).models
    outputs = {
        event.compute_task_output_asset.asset_key: event.compute_task_output_asset.compute_task_output_identifier
        for event in _events(client, task.key, pb.ASSET_COMPUTE_TASK_OUTPUT_ASSET)
    }
    measured = pb.QueryPerformancesParam(filter=pb.PerformanceQueryFilter(compute_task_key=task.key))
    return Description(
        task,
        client.functions.GetFunction(pb.GetFunctionParam(key=task.function_key)),
        list(_events(client, task.key, pb.ASSET_COMPUTE_TASK)),
        [(outputs.get(model.key, ""), model) for model in models],
        list(lists.pages(client.performances.QueryPerformances, measured, "Performances")),
        failures.report_of(client, task),
        declines.of_task(client, task.key),
        [event.profiling_step for event in _own_events(client, task.key) if event.HasField("profiling_step")],
    )


def print_document(described: Description) -> None:
    """Print a description as one JSON document."""
    failure = described.failure
    reading.print_json(
        {
            **reading.document(described.task),
            "state": TASK_WORDS[described.task.status],
            "function_name": described.function.name,
            "attempts": described.attempts,
            "history": [
                {
                    "time": reading.document(event)["timestamp"],
                    "status": pb.ComputeTaskStatus.Name(event.compute_task.status),
                    "state": TASK_WORDS[event.compute_task.status],
                    "reason": event.metadata.get("reason", ""),
                }
                for event in described.history
            ],
            "models": [{**reading.document(model), "output": output} for output, model in described.models],
            "performances": [reading.document(performance) for performance in described.performances],
            "failure_report": reading.document(failure) if failure else None,
            "declined": reading.document(described.declined) if described.declined else None,
            "steps": [{"step": step.step, "seconds": step.duration / 1e6} for step in described.steps],
        }
    )


def render(described: Description) -> "Iterator[RenderableType]":
    """Yield a description's parts for people."""
    task, failure = described.task, described.failure
    yield tables.facts(
        (
            ("task", task.key),
            ("plan", task.compute_plan_key),
            ("function", f"{described.function.name} ({task.function_key})"),
            ("owner", task.owner),
            ("worker", task.worker),
            ("rank", str(task.rank)),
            ("state", TASK_WORDS[task.status]),
            ("waits", described.declined.reason if described.declined else ""),
            ("attempts", str(described.attempts)),
            ("logs for", permissions.users(task.logs_permission)),
            ("error", reading.error_type(failure)),
            ("log", failure.logs_address.storage_address if failure else ""),
            *sorted(task.metadata.items()),
        )
    )
    yield tables.table(
        "time",
        "state",
        "reason",
        title="History",
        whole=("time", "state"),
        folded=("reason",),
        rows=[
            (
                tables.moment(event.timestamp),
                TASK_WORDS[event.compute_task.status],
                tables.with_short_keys(event.metadata.get("reason", "")),
            )
            for event in described.history
        ],
    )
    given = [(ref.identifier, _given(ref)) for ref in task.inputs]
    yield tables.table("input", "given", title="Inputs", rows=given, whole=("given",))
    outputs = sorted(task.outputs.items())
    rows = _rows_of_outputs(described, outputs)
    yield tables.table("output", "is", "for", title="Outputs", rows=rows, whole=("is",), folded=("for",))
    if described.steps:
        steps = [(step.step, f"{step.duration / 1e6:.3f} s") for step in described.steps]
        yield tables.table("step", "took", title="Steps", rows=steps)


def _rows_of_outputs(
    described: Description, outputs: list[tuple[str, pb.ComputeTaskOutput]]
) -> Iterator[tuple[str, str, str]]:
    for identifier, output in outputs:
        who = permissions.users(output.permissions.process) + (", transient" if output.transient else "")
        values = [_address(model) for name, model in described.models if name == identifier]
        values += [
            f"{measured.performance_value:.6g}"
            for measured in described.performances
            if measured.compute_task_output_identifier == identifier
        ]
        for value in values or ["not there yet" if described.task.status != pb.STATUS_DONE else ""]:
            yield identifier, value, who


def _address(model: pb.Model) -> str:
    if not model.HasField("address"):
        return f"model {model.key}, deleted"
    # In a terminal there is no room for both; `orchestrator model get` finds it by its key.
    return f"model {model.key}" + ("" if tables.narrow() else f": {model.address.storage_address}")


def _given(ref: pb.ComputeTaskInput) -> str:
    if ref.HasField("parent_task_output"):
        return f"{ref.parent_task_output.output_identifier!r} of task {ref.parent_task_output.parent_task_key}"
    return ref.asset_key


def _own_events(client: Client, key: str) -> Iterator[pb.TaskEvent]:
    return lists.pages(client.worker.GetTaskEvents, pb.GetTaskEventsParam(compute_task_key=key), "events")


def _events(client: Client, key: str, kind: "pb.AssetKind.ValueType") -> Iterator[Any]:
    wanted = pb.QueryEventsParam(filter=pb.EventQueryFilter(asset_key=key, asset_kind=kind))
    return lists.pages(client.events.QueryEvents, wanted, "events")
