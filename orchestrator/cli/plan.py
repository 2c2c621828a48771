"""The commands of a user about compute plans: list, show, scores, watch, cancel."""

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.connection import Connected, Target, connect, connection_options
from orchestrator.cli.errors import Fault, UsageFault

if TYPE_CHECKING:
    from orchestrator import protos as pb
    from orchestrator.client import Client, Progress

_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document for a machine.")
_KEY = click.argument("key")
_STOP_SECONDS = 60.0


@click.group(cls=Connected)
@connection_options
@click.pass_context
def plan(context: click.Context, /, **options: Any) -> None:
    """List, show, watch and cancel compute plans, and read their scores.

    KEY is a plan's key, or as much of its beginning as no other has.
    """
    context.obj = Target(**options)


@plan.command("list")
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="The newest N; 0 for all.")
@_JSON
@click.pass_obj
def list_plans(target: Target, limit: int, as_json: bool) -> None:
    """List compute plans, the newest last, and how many of their tasks are Done; --json counts the other states too."""
    with connect(target.resolve()) as client:
        from orchestrator.cli import reading, tables

        found = list(reading.plans(client))[-limit:]
        all_progress = [_progress(client, plan) for plan in found]
        if as_json:
            listed = [
                {**reading.document(plan), "state": progress.state, "counts": progress.counts}
                for plan, progress in zip(found, all_progress, strict=True)
            ]
            reading.print_json({"plans": listed})
            return
        key = tables.short(plan.key for plan in found)
        rows = [
            (
                key(plan.key),
                plan.name,
                plan.owner,
                tables.minute(plan.creation_date),
                progress.state,
                f"{progress.counts['Done']}/{len(progress.tasks)}",
            )
            for plan, progress in zip(found, all_progress, strict=True)
        ]
        columns = ("plan", "name", "owner", "created", "state", "done")
        tables.console().print(tables.table(*columns, rows=rows, whole=("plan", "created", "state", "done")))


@plan.command()
@_KEY
@_JSON
@click.pass_obj
def show(target: Target, key: str, as_json: bool) -> None:
    """Show a compute plan: its tasks by rank, where they run, in what state, and why some failed."""
    with connect(target.resolve()) as client:
        from orchestrator.cli import declines, reading, tables
        from orchestrator.core.states import TASK_WORDS

        plan = reading.find(client, key, reading.PLAN)
        progress = _progress(client, plan)
        tasks = sorted(progress.tasks.values(), key=lambda task: task.rank)
        failures = {task.key: reading.failure_of(client, task) for task in tasks}
        declined = declines.of_plan(client, plan.key)
        if as_json:
            reasons = {decline.compute_task_key: decline.reason for decline in declined}
            listed = [
                {
                    **reading.document(task),
                    "error_type": reading.error_type(failures[task.key]),
                    "declined": reasons.get(task.key, ""),
                }
                for task in tasks
            ]
            reading.print_json(
                {**reading.document(plan), "state": progress.state, "counts": progress.counts, "tasks": listed}
            )
            return
        names = {f.key: f.name for f in _functions(client, plan.key)}
        counts = ", ".join(f"{word} {number}" for word, number in progress.counts.items() if number)
        output = tables.console()
        output.print(
            tables.facts(
                (
                    ("plan", plan.key),
                    ("name", plan.name),
                    ("tag", plan.tag),
                    ("owner", plan.owner),
                    ("created", tables.moment(plan.creation_date)),
                    ("state", progress.state),
                    ("tasks", f"{len(tasks)} ({counts})" if tasks else "none"),
                    *sorted(plan.metadata.items()),
                )
            )
        )
        key_of = tables.short(task.key for task in tasks)
        rows = [
            (
                str(task.rank),
                key_of(task.key),
                names.get(task.function_key, task.function_key),
                task.worker,
                TASK_WORDS[task.status],
                reading.error_type(failures[task.key]),
            )
            for task in tasks
        ]
        columns = ("rank", "task", "function", "worker", "state", "error")
        output.print(tables.table(*columns, rows=rows, whole=("rank", "task", "state", "error")))
        for group in declines.grouped(declined):
            output.print(group.line, soft_wrap=True, markup=False)


@plan.command()
@_KEY
@click.pass_obj
def watch(target: Target, key: str) -> None:
    """Follow a compute plan until it ends: exit code 0 when it is Done, 1 when it failed or was cancelled.

    A bar in a terminal, a line for each event elsewhere. It goes on by itself after the orchestrator restarted.
    """
    with connect(target.resolve()) as client:
        from functools import partial

        from orchestrator.cli import declines, reading, tables
        from orchestrator.client.display import show

        found, output = reading.find(client, key, reading.PLAN), tables.console()
        with declines.Notices(client, found.key, partial(output.print, soft_wrap=True, markup=False)):
            progress = show(client, found.key, output)
        if progress.state != "Done":
            raise Fault(f"the compute plan is {progress.state}; `orchestrator plan show {key}` says more")
        click.echo("Done")


@plan.command()
@_KEY
@click.option(
    "--wait", is_flag=True, help="Until every process that ran one of its tasks has stopped; show how far it is."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help=f"With --wait: give up after this long, {_STOP_SECONDS:g} by default.",
)
@click.pass_obj
def cancel(target: Target, key: str, wait: bool, timeout: float | None) -> None:
    """Cancel a compute plan of the organization: none of its tasks begins any more, those that run are stopped.

    With --wait exit code 0 when all processes have stopped, 1 when the time was over first: what they report is refused
    all the same. A plan that was cancelled before is waited for, too.
    """
    if timeout is not None and not wait:
        raise UsageFault("--timeout says how long --wait waits: give --wait too")
    with connect(target.resolve()) as client:
        from orchestrator.cli import reading

        found = reading.find(client, key, reading.PLAN)
        if not (wait and found.HasField("cancelation_date")):
            client.cancel(found.key)
        click.echo(f"compute plan {found.key} is cancelled")
        if wait:
            _await_stops(client, found.key, timeout or _STOP_SECONDS)


@plan.command()
@_KEY
@_JSON
@click.option("--csv", "as_csv", is_flag=True, help="A line of comma-separated values for each score.")
@click.pass_obj
def scores(target: Target, key: str, as_json: bool, as_csv: bool) -> None:
    """Show what the tasks of a compute plan have measured, by round and organization.

    The round is what a task's metadata call `round` (or `round_idx`), or else those of the tasks before it; where none
    does, it is the task's rank.
    """
    if as_json and as_csv:
        raise UsageFault("--json and --csv are two forms of one answer: give one of them")
    with connect(target.resolve()) as client:
        from orchestrator.cli import reading, tables

        found = client.scores(reading.find(client, key, reading.PLAN).key)
    if as_json:
        reading.print_json({"scores": found.document()})
    elif as_csv:
        click.echo(found.csv(), nl=False)
    elif found:
        head, *rows = found.table()
        tables.console().print(tables.table(*head, rows=rows, whole=("round", "score")))
    else:
        click.echo("no scores yet")


def _await_stops(client: "Client", key: str, timeout: float) -> None:
    from orchestrator.cli import cancellation, tables

    shares = cancellation.wait(client, key, timeout, tables.console())
    late = [share for share in shares if not share.ended]
    if late:
        left = ", ".join(f"{share.requested.count - share.stopped.count} of {share.organization}" for share in late)
        raise Fault(
            f"after {timeout:g} s not all have said that they stopped: {left}; their results are refused all the same, "
            "and `orchestrator node list` shows which nodes are silent"
        )
    click.echo("all have stopped" if shares else f"nothing had to be stopped: {_ended(client, key)}")


def _ended(client: "Client", key: str) -> str:
    """Return how the tasks of a cancelled plan of which none ran have ended, in words."""
    from orchestrator.cli import reading

    counts = _progress(client, reading.find(client, key, reading.PLAN)).counts
    words = [f"{counts[state]} {state}" for state in ("Done", "Failed") if counts[state]]
    before = f"{' and '.join(words)} before" if words else ""
    unbegun = f"{counts['Cancelled']} had not begun" if counts["Cancelled"] else ""
    return ", ".join(filter(None, [before, unbegun])) or "it has no tasks"


def _progress(client: "Client", plan: "pb.ComputePlan") -> "Progress":
    from orchestrator.cli import reading
    from orchestrator.client import Progress

    return Progress(plan, reading.tasks_of(client, plan.key))


def _functions(client: "Client", plan: str) -> "list[pb.Function]":
    from orchestrator import protos as pb
    from orchestrator.cli import reading

    wanted = pb.QueryFunctionsParam(filter=pb.FunctionQueryFilter(compute_plan_key=plan))
    return list(reading.pages(client.functions.QueryFunctions, wanted, "Functions"))
