"""The commands of a user about tasks: show, explain, logs."""

import sys
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.connection import Connected, Target, connect, connection_options, tls
from orchestrator.cli.errors import Fault, UsageFault

if TYPE_CHECKING:
    from orchestrator import protos as pb


@click.group(cls=Connected)
@connection_options
@click.pass_context
def task(context: click.Context, /, **options: Any) -> None:
    """Show tasks, why they are in their state, and the logs of those that failed.

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
        from orchestrator.cli import reading

        found = client.explain(reading.find(client, key, reading.TASK))
    if as_json:
        reading.print_json(found.document())
        return
    click.echo(found.sentence)
    failed = next((cause for cause in found.causes if cause.kind == pb.CAUSE_FAULT), None)
    if failed is not None:
        click.echo(f"its log: {target.command('task')} logs {failed.compute_task_key}")


@task.command()
@click.argument("key")
@click.option("--raw", is_flag=True, help="Each byte as the function wrote it, also what steers terminals.")
@click.pass_obj
def logs(target: Target, key: str, raw: bool) -> None:
    """Print the log of a task that failed, from the asset store of the organization that ran it.

    The task's logs permission says who may read it: that of its data set, else its owner and those of its parents.
    """
    access = target.resolve()
    with connect(access) as client:
        from orchestrator.cli import download, reading

        found = reading.find(client, key, reading.TASK)
        report = reading.failure_of(client, found)
        if report is None or not report.HasField("logs_address"):
            raise Fault(_no_log(found, report))
    if access.certificates is None or access.peers is None:
        raise UsageFault("logs are read over mutual TLS: give --peer-ca-cert, --ca-cert, --cert and --key")
    context = tls(access.certificates, access.peers)
    what, proxy = f"the log of task {found.key}", access.proxy_from_environment
    with download.fetch(report.logs_address, context, what, proxy) as log:
        download.write(log, sys.stdout.buffer, raw)


def _no_log(task: "pb.ComputeTask", report: "pb.FailureReport | None") -> str:
    from orchestrator import protos as pb
    from orchestrator.cli.reading import error_type
    from orchestrator.core.states import TASK_WORDS

    if report is not None:
        return (
            f"task {task.key} has no log for others to read: it failed by an {error_type(report)} error; "
            f"`orchestrator task show {task.key}` tells the reason where its worker gave one, and the administrator of "
            f"{report.owner} finds more in the worker's own log"
        )
    if task.status == pb.STATUS_FAILED:
        return f"task {task.key} has no log: it was made Failed without a report of why"
    return f"task {task.key} is {TASK_WORDS[task.status]}; only tasks that failed have a log to read"
