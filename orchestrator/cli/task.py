"""The commands of a user about tasks: show, explain, logs."""

from typing import Any

import click

from orchestrator.cli.acting import as_one_of, readers
from orchestrator.cli.connection import Connected, Target, connect, connection_options


@click.group(cls=Connected)
@connection_options
@click.pass_context
def task(context: click.Context, /, **options: Any) -> None:
    """Show tasks, why they are in their state, and what they say.

    KEY is a task's key, or as much of its beginning as no other has.
    """
    context.obj = Target(**options)


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

        found = client.explain(reading.find(client, key, reading.TASK))
        failed = next((cause for cause in found.causes if cause.kind == pb.CAUSE_FAULT), None)
        if failed is not None and not as_json:
            task = client.tasks.GetTask(pb.GetTaskParam(key=failed.compute_task_key))
            report = reading.failure_of(client, task)
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
