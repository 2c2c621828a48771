"""The commands of a user about compute plans: list, show, scores, watch, cancel; others stand in their own modules."""

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli import continuation, submission
from orchestrator.cli.acting import acting
from orchestrator.cli.connected import Connected, connection_options
from orchestrator.cli.connection import Target, connect
from orchestrator.cli.errors import Fault, UsageFault

if TYPE_CHECKING:
    from orchestrator.client import Client

_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON document for a machine.")
_KEY = click.argument("key")
_STOP_SECONDS = 60.0


@click.group(cls=Connected)
@connection_options
@click.pass_context
def plan(context: click.Context, /, **options: Any) -> None:
    """Check, submit, list, show, watch, cancel, retry and rerun compute plans, and read their scores.

    KEY is a plan's key, or as much of its beginning as no other has.
    """
    context.obj = Target(**options)


for command in (submission.check, submission.submit, continuation.retry, continuation.rerun):
    plan.add_command(command)


@plan.command("list")
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="The newest N; 0 for all.")
@_JSON
@click.pass_obj
def list_plans(target: Target, limit: int, as_json: bool) -> None:
    """List compute plans, the newest last, and how many of their tasks are Done; --json counts the other states too."""
    with connect(target.resolve()) as client:
        from orchestrator.cli import reading, tables
        from orchestrator.client import lists
        from orchestrator.client.progress import state_of

        found = list(lists.plans(client))[-limit:]
        counted = reading.counts_of(client, [plan.key for plan in found])
        states = {plan.key: state_of(plan, counted[plan.key]) for plan in found}
        if as_json:
            listed = [
                {**reading.document(plan), "state": states[plan.key], "counts": counted[plan.key]} for plan in found
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
                states[plan.key],
                f"{counted[plan.key]['Done']}/{sum(counted[plan.key].values())}",
            )
            for plan in found
        ]
        columns = ("plan", "name", "owner", "created", "state", "done")
        none = "no compute plans yet: `plan.submit()` of the Python SDK registers one, or `orchestrator plan submit`"
        tables.show(*columns, rows=rows, none=none, whole=("plan", "created", "state", "done"))


@plan.command()
@_KEY
@_JSON
@click.pass_obj
def show(target: Target, key: str, as_json: bool) -> None:
    """Show a compute plan: its tasks by round, when each ran, what it waits for, and why some failed."""
    access = target.resolve()
    with connect(access) as client:
        from orchestrator.cli import advice, declines, overview, reading, tables

        found = overview.read(client, reading.find(client, key, reading.PLAN))
        why = [] if as_json else list(advice.after_failure(target, access, client, found.tasks))
    if as_json:
        reading.print_json(overview.document(found))
        return
    output = tables.console()
    for part in overview.render(found):
        output.print(part)
    for group in declines.grouped(found.declined):
        output.print(group.line, soft_wrap=True, markup=False)
    for line in why:
        output.print(line, soft_wrap=True, markup=False)


@plan.command()
@_KEY
@click.option("--quiet", is_flag=True, help="Only how it ended.")
@click.pass_obj
def watch(target: Target, key: str, quiet: bool) -> None:
    """Follow a compute plan until it ends: exit code 0 when it is Done, 1 when it failed or was cancelled.

    A bar in a terminal, a line for each event elsewhere. It goes on by itself after the orchestrator restarted.
    """
    access = target.resolve()
    with connect(access) as client:
        from functools import partial

        from orchestrator.cli import advice, declines, reading, tables
        from orchestrator.client.display import show

        found = reading.find(client, key, reading.PLAN)
        output = tables.console(quiet)
        with declines.Notices(client, found.key, partial(output.print, soft_wrap=True, markup=False)):
            progress = show(client, found.key, output)
        if progress.state != "Done":
            why = advice.after_failure(target, access, client, progress.tasks.values())
            ended = f"the compute plan is {progress.state}; `{target.command('plan')} show {key}` says more"
            raise Fault("\n".join([ended, *why]))
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
    all the same. A plan that was cancelled before is waited for, too; one that is Done stays Done.
    """
    if timeout is not None and not wait:
        raise UsageFault("--timeout says how long --wait waits: give --wait too")
    access = target.resolve()
    with connect(access) as client:
        from orchestrator.cli import reading
        from orchestrator.client.progress import state_of

        found = reading.find(client, key, reading.PLAN)
        if not (wait and found.HasField("cancelation_date")):
            counts = reading.counts_of(client, [found.key])[found.key]
            if state_of(found, counts) == "Done":
                raise Fault(
                    f"compute plan {found.key} is Done, with all its {counts['Done']} tasks: nothing is cancelled"
                )
            with acting(access, client, found.owner) as owner:
                owner.cancel(found.key)
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
        output = tables.console()
        forms = (
            tables.table(*head, rows=rows, whole=("round", "score", "value"))
            for head, *rows in (found.table(), found.listed())
        )
        output.print(tables.fitting(output, *forms))
        for note in found.notes():
            output.print(note, soft_wrap=True, markup=False)
        curves = found.curves()
        if curves and tables.narrow():
            head, *rows = curves
            output.print(tables.table(*head, rows=rows, whole=("first to last",)))
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
    from orchestrator.client import Progress

    plan = reading.find(client, key, reading.PLAN)
    counts = Progress(plan, reading.tasks_of(client, plan.key)).counts
    words = [f"{counts[state]} {state}" for state in ("Done", "Failed") if counts[state]]
    before = f"{' and '.join(words)} before" if words else ""
    unbegun = f"{counts['Cancelled']} had not begun" if counts["Cancelled"] else ""
    return ", ".join(filter(None, [before, unbegun])) or "it has no tasks"
