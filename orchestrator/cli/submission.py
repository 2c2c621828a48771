"""The commands of a user about a compute plan in a file: look at it, submit it."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.connection import Target, connect
from orchestrator.cli.errors import Fault, RemoteFault, UsageFault

if TYPE_CHECKING:
    from orchestrator.client import Client, Plan

_FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.command()
@_FILE
@click.option("--json", "as_json", is_flag=True, help="One JSON document for a machine.")
@click.pass_obj
def check(target: Target, file: Path, as_json: bool) -> None:
    """Look at a compute plan before it is submitted: what is wrong, and what its tasks would wait for now.

    FILE is what `Plan.save` of the SDK wrote. Nothing is registered. Exit code 0 when nothing is wrong, 1 when the plan
    would be refused, or fail at once.
    """
    with connect(target.resolve()) as client:
        from orchestrator.cli import reading

        found = client.check(read_plan(client, file))
    if as_json:
        reading.print_json(found.document())
    else:
        click.echo(str(found))
    if not found.ok:
        faults = len(found.faults)
        raise Fault(f"{faults} fault{'' if faults == 1 else 's'}: the compute plan would not run")


@click.command()
@_FILE
@click.pass_obj
def submit(target: Target, file: Path) -> None:
    """Register a compute plan with all its tasks, or nothing of it.

    FILE is what `Plan.save` of the SDK wrote. The same again registers nothing more, and does not begin anew what was
    cancelled.
    """
    with connect(target.resolve()) as client:
        from orchestrator.cli import reading

        plan = read_plan(client, file)
        if not plan.tasks:
            raise UsageFault(
                f"the compute plan in {file} has no tasks, and would never end: add some, and save it again"
            )
        client.submit(plan)
        kept = reading.PLAN.get(client, plan.key)
    if kept.HasField("cancelation_date"):
        raise RemoteFault(
            f"compute plan {plan.key} was submitted before, and cancelled: its tasks do not run any more; "
            f"`{target.command('plan')} rerun {plan.key[:8]}` makes a new one like it"
        )
    click.echo(f"compute plan {plan.key} is submitted, {len(plan.tasks)} tasks")
    click.echo(f"`{target.command('plan')} watch {plan.key[:8]}` follows it")


def read_plan(client: "Client", file: Path) -> "Plan[None]":
    """Return the compute plan of a file.

    Raises:
        UsageFault: it holds none.
    """
    from orchestrator.client import PlanError

    try:
        return client.load(file)
    except (OSError, PlanError) as error:
        raise UsageFault(str(error)) from error
