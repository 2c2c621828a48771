"""The command `demo`: a federation on this machine trains one model, from nothing to a table of scores."""

import time
from functools import partial
from pathlib import Path

import click

from orchestrator.cli.errors import Fault
from orchestrator.cli.folder import command, data_option, fresh, of_demos


@click.command()
@click.option("--rounds", type=click.IntRange(1, 1000), default=5, show_default=True, help="Rounds of training.")
@click.option(
    "--product",
    type=click.Choice(["compute", "executions", "problems"]),
    default="compute",
    show_default=True,
    help="What is shown: compute plans, executions of stored schemas, or problems that modules solve.",
)
@click.option("--keep-running", is_flag=True, help="Leave everything running after the table, until Ctrl-C.")
@data_option
def demo(rounds: int, product: str, keep_running: bool, data: Path) -> None:
    """Watch three hospitals train one model on real patients' data that never leave them.

    Everything that a network has is started on this machine, in a fresh folder, and ended again: Postgres, a
    broker, the orchestrator, beat, Flower, and a worker and an asset store for each organization. Exits with 0 if
    every task is Done and the shared model is as good as one trained on all data pooled: its mean accuracy within
    0.02 of that one's, and at least 0.93.

    With --product executions two data partners and a central node run workflows of stored schemas: a training, a
    federated one, evaluations, an inference, and a failure that shows why.

    With --product problems six modules solve a user's problem in three ways, which are compared; one module is killed
    on the way, and one is slow.
    """
    if product == "executions":
        _executions(keep_running, data)
        return
    if product == "problems":
        _problems(keep_running, data)
        return
    from orchestrator.embedded.interruption import ENDING, ending_with, exit_on

    exit_on(*ENDING)
    with ending_with(partial(click.echo, "Everything has ended")):
        _train(rounds, keep_running, data)


def _train(rounds: int, keep_running: bool, data: Path) -> None:
    begin = time.monotonic()
    from rich.console import Console

    from orchestrator.cli.experiment import AGGREGATOR, HOSPITALS, Experiment, Preparation
    from orchestrator.client import BuildError, CallError, StoreError
    from orchestrator.embedded.federation import Federation, remove_data
    from orchestrator.embedded.postgres import forget_variables
    from orchestrator.embedded.processes import ProcessError

    forget_variables()
    console = Console(highlight=False)
    place = fresh(data)
    federation = Federation(data, [*HOSPITALS, AGGREGATOR], data=place, tell=partial(console.print, soft_wrap=True))
    kept = keep_running
    try:
        preparation = Preparation(rounds)
        with federation:
            console.print(f"Ready after {time.monotonic() - begin:.1f} s")
            console.print("Each organization's consent policy admits all members of this federation")
            for old in of_demos(data):
                if old != place:
                    remove_data(old)
            faults = Experiment(federation, console, rounds).run(preparation, keep_running)
            kept = kept or bool(faults)
            if keep_running:
                console.print(
                    f"\nEverything runs on until Ctrl-C or `{command('down', data)}`; "
                    f"try `{command('plan list', data)}` in another terminal",
                    soft_wrap=True,
                )
                federation.stay()
        console.print(f"Everything has ended, {time.monotonic() - begin:.1f} s after the start")
    except (ProcessError, CallError, StoreError, BuildError, OSError) as error:
        kept = True
        raise Fault(f"{error}{_remains(place)}") from error
    finally:
        if not kept:
            remove_data(place)
    if faults:
        raise Fault(f"{'; '.join(faults)}{_remains(place)}")


def _executions(keep_running: bool, data: Path) -> None:
    from orchestrator.embedded.interruption import ENDING, ending_with, exit_on

    exit_on(*ENDING)
    begin = time.monotonic()
    import httpx

    from orchestrator.cli import tables
    from orchestrator.cli.executions_demo import Story, StoryError, staged
    from orchestrator.client import CallError, StoreError
    from orchestrator.embedded.federation import remove_data
    from orchestrator.embedded.processes import ProcessError

    console, place = tables.console(), fresh(data)
    tell = partial(console.print, soft_wrap=True)
    kept, faults = keep_running, []
    try:
        with (
            ending_with(partial(console.print, "Everything has ended")),
            staged(data, place, tell) as (federation, stage),
        ):
            console.print(f"Ready after {time.monotonic() - begin:.1f} s")
            for old in of_demos(data):
                if old != place:
                    remove_data(old)
            faults = Story(federation, stage, console).tell()
            kept = kept or bool(faults)
            if keep_running:
                tell(
                    f"\nEverything runs on until Ctrl-C or `{command('down', data)}`; the API is at "
                    f"http://{federation.running.http_address}/api/"
                )
                federation.stay()
        console.print(f"Everything has ended, {time.monotonic() - begin:.1f} s after the start")
    except (ProcessError, CallError, StoreError, StoryError, httpx.HTTPError, OSError) as error:
        kept = True
        raise Fault(f"{error}{_remains(place)}") from error
    finally:
        if not kept:
            remove_data(place)
    if faults:
        raise Fault(f"{'; '.join(faults)}{_remains(place)}")


def _problems(keep_running: bool, data: Path) -> None:
    from orchestrator.embedded.interruption import ENDING, ending_with, exit_on

    exit_on(*ENDING)
    begin = time.monotonic()
    import httpx

    from orchestrator.cli import tables
    from orchestrator.cli.problems_demo import Story, StoryError, staged
    from orchestrator.client import CallError
    from orchestrator.embedded.federation import remove_data
    from orchestrator.embedded.processes import ProcessError

    console, place = tables.console(), fresh(data)
    tell = partial(console.print, soft_wrap=True)
    kept, faults = keep_running, []
    try:
        with (
            ending_with(partial(console.print, "Everything has ended")),
            staged(data, place, tell) as (federation, modules),
        ):
            console.print(f"Ready after {time.monotonic() - begin:.1f} s")
            for old in of_demos(data):
                if old != place:
                    remove_data(old)
            faults = Story(federation, modules, console).tell()
            kept = kept or bool(faults)
            if keep_running:
                tell(
                    f"\nEverything runs on until Ctrl-C or `{command('down', data)}`; front ends find it at "
                    f"{federation.running.problems['address']}"
                )
                federation.stay()
        console.print(f"Everything has ended, {time.monotonic() - begin:.1f} s after the start")
    except (ProcessError, CallError, StoryError, httpx.HTTPError, OSError) as error:
        kept = True
        raise Fault(f"{error}{_remains(place)}") from error
    finally:
        if not kept:
            remove_data(place)
    if faults:
        raise Fault(f"{'; '.join(faults)}{_remains(place)}")


def _remains(place: Path) -> str:
    return f"\nIts data and logs stay in {place} until the next demo" if place.exists() else ""
