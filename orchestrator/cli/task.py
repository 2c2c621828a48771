"""The commands of a user about tasks: list, show, explain, logs."""

from collections import deque
from typing import Any

import click

from orchestrator.cli.acting import as_one_of, readers
from orchestrator.cli.connected import Connected, connection_options
from orchestrator.cli.connection import Target, connect

STATES = ("Waiting", "Building", "To do", "Doing", "Done", "Failed", "Cancelled")
"""The words of `orchestrator.core.states`, which is not imported for a `--help`."""


@click.group(cls=Connected)
@connection_options
@click.pass_context
def task(context: click.Context, /, **options: Any) -> None:
    """List and show tasks, why they are in their state, and what they say.

    KEY is a task's key, or as much of its beginning as no other has.
    """
    context.obj = Target(**options)


@task.command("list")
@click.option("--worker", metavar="ID", default="", help="Those that this organization runs.")
@click.option("--plan", metavar="KEY", help="Those of this compute plan.")
@click.option("--function", metavar="KEY", help="Those that run this function.")
@click.option("--state", type=click.Choice(STATES, case_sensitive=False), help="Those in this state.")
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="The newest N; 0 for all.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document for a machine.")
@click.pass_obj
def list_tasks(
    target: Target, worker: str, plan: str | None, function: str | None, state: str | None, limit: int, as_json: bool
) -> None:
    """List tasks, the newest last: what an organization runs or has run, for whom, and in which compute plan."""
    with connect(target.resolve()) as client:
        from orchestrator import protos as pb
        from orchestrator.cli import reading, tables
        from orchestrator.client import lists
        from orchestrator.core.states import TASK_WORDS

        wanted = pb.TaskQueryFilter(
            worker=worker,
            compute_plan_key=reading.find(client, plan, reading.PLAN).key if plan else "",
            function_key=reading.find(client, function, reading.FUNCTION).key if function else "",
        )
        found = list(
            deque(
                (each for each in lists.tasks(client, wanted) if state in (None, TASK_WORDS[each.status])),
                maxlen=limit or None,
            )
        )
        names = {key: client.function(key).name for key in {each.function_key for each in found}}
    if as_json:
        listed = [
            {**reading.document(each), "state": TASK_WORDS[each.status], "function_name": names[each.function_key]}
            for each in found
        ]
        reading.print_json({"tasks": listed})
        return
    key, plan_key = tables.short(each.key for each in found), tables.short(each.compute_plan_key for each in found)
    wide = not tables.narrow()
    rows = [
        (
            key(each.key),
            names[each.function_key],
            each.owner,
            each.worker,
            plan_key(each.compute_plan_key),
            *([tables.minute(each.creation_date)] if wide else []),
            TASK_WORDS[each.status],
        )
        for each in found
    ]
    columns = ["task", "function", "owner", "worker", "plan", *(["created"] if wide else []), "state"]
    tables.show(*columns, rows=rows, none="no such tasks", whole=("task", "plan", "created", "state"))


@task.command()
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="One JSON document for a machine.")
@click.pass_obj
def show(target: Target, key: str, as_json: bool) -> None:
    """Show a task: its state and how it came to it, its inputs, outputs, models and performances."""
    with connect(target.resolve()) as client:
        from orchestrator.cli import description, reading, tables

        described = description.read(client, reading.find(client, key, reading.TASK))
        if as_json:
            description.print_document(described)
        else:
            output = tables.console()
            for part in description.render(described):
                output.print(part)


@task.command()
@click.argument("key")
@click.option("--json", "as_json", is_flag=True, help="One JSON document for a machine, each cause by itself.")
@click.pass_obj
def explain(target: Target, key: str, as_json: bool) -> None:
    """Say in one sentence why a task is in its state: what it waits for and since when, or what ended it."""
    with connect(target.resolve()) as client:
        from orchestrator import protos as pb
        from orchestrator.cli import advice, reading
        from orchestrator.client import failures

        found = client.explain(reading.find(client, key, reading.TASK))
        failed = next((cause for cause in found.causes if cause.kind == pb.CAUSE_FAULT), None)
        if failed is not None and not as_json:
            task = client.tasks.GetTask(pb.GetTaskParam(key=failed.compute_task_key))
            report = failures.report_of(client, task)
    if as_json:
        reading.print_json(found.document())
        return
    click.echo(found.sentence)
    if failed is not None:
        click.echo(advice.more(target, report, failed.compute_task_key))


@task.command()
@click.argument("key")
@click.option("--follow", "-f", is_flag=True, help="Go on until the task has ended.")
@click.option("--attempt", type=click.IntRange(1), metavar="N", help="Of the attempts at it; the last by default.")
@click.option("--raw", is_flag=True, help="Each byte as the function wrote it, also what steers terminals.")
@click.pass_obj
def logs(target: Target, key: str, follow: bool, attempt: int | None, raw: bool) -> None:
    """Print what a task says while it runs, and after, from the asset store of the organization that runs it.

    The task's logs permission says who may read it: that of its data set, else its owner and those of its parents. That
    organization keeps it for as long as it wants to.
    """
    access = target.resolve()
    with connect(access) as client:
        from orchestrator.cli import reading
        from orchestrator.cli.task_log import TaskLog

        found = reading.find(client, key, reading.TASK)
        reader = as_one_of(access, *readers(found.worker, found.logs_permission))
        TaskLog(reader, client, found, raw).show(attempt, follow)
