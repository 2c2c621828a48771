"""What is shown of a compute plan: its tasks by round, when each ran, and what those that have not begun wait for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

from google.protobuf.timestamp_pb2 import Timestamp

from orchestrator import protos as pb
from orchestrator.cli import declines, reading, tables
from orchestrator.client import Client, Continuations, Progress, failures, lists
from orchestrator.client.scores import inherited, order, rounds_of
from orchestrator.core.states import TASK_WORDS, TERMINAL

if TYPE_CHECKING:
    from rich.console import RenderableType

_SHORT_KEY = 8


@dataclass(frozen=True)
class Overview:
    """A compute plan and what belongs to it.

    Args:
        plan: the plan.
        progress: its tasks, by their keys.
        tasks: the same, by round, then rank.
        rounds: task's key -> round.
        names: function's key -> name.
        times: task's key -> when it ran; absent where it never began.
        now: the orchestrator's clock.
        failures: task's key -> why it failed, where it was reported.
        declined: what workers have declined.
        links: how it is linked to other plans.
    """

    plan: pb.ComputePlan
    progress: Progress
    tasks: Sequence[pb.ComputeTask]
    rounds: Mapping[str, int | str]
    names: Mapping[str, str]
    times: Mapping[str, pb.TaskTimes]
    now: Timestamp
    failures: Mapping[str, pb.FailureReport | None]
    declined: Sequence[pb.Decline]
    links: Continuations

    def waits_for(self, task: pb.ComputeTask) -> list[str]:
        """Return the keys of the parents of the plan that a task waits for."""
        if task.status in TERMINAL or task.status == pb.STATUS_EXECUTING:
            return []
        parents = dict.fromkeys(ref.parent_task_output.parent_task_key for ref in task.inputs)
        known = self.progress.tasks
        return [key for key in parents if key in known and known[key].status != pb.STATUS_DONE]

    def took(self, task: pb.ComputeTask) -> timedelta | None:
        """Return how long a task's last attempt took, or has taken; None where that is not known."""
        times = self.times.get(task.key)
        if times is None or not times.HasField("began"):
            return None
        if not times.HasField("ended") and task.status != pb.STATUS_EXECUTING:
            return None
        end = times.ended if times.HasField("ended") else self.now
        length: timedelta = end.ToDatetime(UTC) - times.began.ToDatetime(UTC)
        return max(length, timedelta())


def read(client: Client, plan: pb.ComputePlan) -> Overview:
    """Ask the orchestrator for what belongs to a compute plan.

    Raises:
        CallError: there is no answer.
    """
    progress = Progress(plan, reading.tasks_of(client, plan.key))
    links = client.continuations(plan.key)
    rounds = _rounds(client, progress.tasks.values(), links)
    tasks = sorted(progress.tasks.values(), key=lambda task: (order(rounds[task.key]), task.rank))
    names = {each.key: each.name for each in lists.functions(client, plan.key)}
    asked = pb.QueryPlanTimesParam(compute_plan_key=plan.key, page_size=1000)
    times: dict[str, pb.TaskTimes] = {}
    while True:
        answer = client.inspection.QueryPlanTimes(asked)
        times |= {each.compute_task_key: each for each in answer.times}
        asked.page_token = answer.next_page_token
        if not asked.page_token:
            break
    return Overview(
        plan,
        progress,
        tasks,
        rounds,
        names,
        times,
        answer.now,
        {task.key: failures.report_of(client, task) for task in tasks},
        declines.of_plan(client, plan.key),
        links,
    )


def _rounds(client: Client, tasks: Iterable[pb.ComputeTask], links: Continuations) -> Mapping[str, int | str]:
    found = rounds_of(tasks)
    link = links.continues
    if link is None:
        return found
    first = _rounds(client, list(reading.tasks_of(client, link.origin)), client.continuations(link.origin))
    return inherited(found, first, link)


def document(overview: Overview) -> dict[str, Any]:
    """Return it for JSON."""
    reasons = {decline.compute_task_key: decline.reason for decline in overview.declined}
    return {
        **reading.document(overview.plan),
        "state": overview.progress.state,
        "counts": overview.progress.counts,
        **overview.links.document(),
        "tasks": [
            {
                **reading.document(task),
                "state": TASK_WORDS[task.status],
                "round": overview.rounds[task.key],
                "error_type": reading.error_type(overview.failures[task.key]),
                "declined": reasons.get(task.key, ""),
                "waits_for": overview.waits_for(task),
                **_times(overview.times.get(task.key)),
            }
            for task in overview.tasks
        ],
    }


def _times(times: pb.TaskTimes | None) -> dict[str, Any]:
    shown = reading.document(times or pb.TaskTimes())
    return {"attempts": shown["attempts"], "began": shown.get("began"), "ended": shown.get("ended")}


def render(overview: Overview) -> "Iterator[RenderableType]":
    """Yield its parts for people, but for what was declined."""
    progress, tasks = overview.progress, overview.tasks
    plan = overview.plan
    counts = ", ".join(f"{word} {number}" for word, number in progress.counts.items() if number)
    yield tables.facts(
        (
            ("plan", plan.key),
            ("name", plan.name),
            ("tag", plan.tag),
            ("owner", plan.owner),
            ("created", tables.moment(plan.creation_date)),
            ("state", progress.state),
            ("tasks", f"{len(tasks)} ({counts})" if tasks else "none"),
            *overview.links.facts(),
            *sorted(plan.metadata.items()),
        )
    )
    wide = not tables.narrow()
    key_of = tables.short(task.key for task in tasks)
    columns = ["round", "task", "function", "worker", "state", *(["began"] if wide else []), "took", "waits for, error"]
    rows = [
        [
            str(overview.rounds[task.key]),
            key_of(task.key),
            overview.names.get(task.function_key, task.function_key),
            task.worker,
            TASK_WORDS[task.status],
            *([_began(overview.times.get(task.key))] if wide else []),
            _length(overview.took(task)),
            _why(overview, task),
        ]
        for task in tasks
    ]
    yield tables.table(*columns, rows=rows, whole=("round", "task", "state", "began", "took"))


def _began(times: pb.TaskTimes | None) -> str:
    return tables.moment(times.began) if times is not None and times.HasField("began") else ""


def _length(took: timedelta | None) -> str:
    if took is None:
        return ""
    seconds = took.total_seconds()
    return f"{seconds:.1f} s" if seconds < 120 else tables.age(took)


def _why(overview: Overview, task: pb.ComputeTask) -> str:
    if error := reading.error_type(overview.failures[task.key]):
        return error
    parents = overview.waits_for(task)
    if not parents:
        return ""
    first = overview.progress.tasks[parents[0]]
    more = f" +{len(parents) - 1}" if len(parents) > 1 else ""
    return f"{first.key[:_SHORT_KEY]}{more}"
