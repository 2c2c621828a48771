"""The command `demo`: a federation on this machine trains one model, from nothing to a table of scores."""

import time
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.errors import Fault
from orchestrator.cli.folder import command, data_option, fresh, of_demos

if TYPE_CHECKING:
    from orchestrator.cli.story import Staged, Telling

# The modules that offer `staged`; each imports much that the others do not need.
_STORIES = {
    "compute": "orchestrator.cli.experiment",
    "executions": "orchestrator.cli.executions_demo",
    "problems": "orchestrator.cli.problems_demo",
}


@click.command()
@click.option("--rounds", type=click.IntRange(1, 1000), default=5, show_default=True, help="Rounds of training.")
@click.option(
    "--product",
    type=click.Choice(list(_STORIES)),
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
    from orchestrator.embedded.interruption import ENDING, ending_with, exit_on

    exit_on(*ENDING)
    begin = time.monotonic()
    with ending_with(partial(click.echo, "Everything has ended")):
        from orchestrator.cli import tables
        from orchestrator.cli.story import Telling
        from orchestrator.embedded.postgres import forget_variables

        forget_variables()
        telling = Telling(data, fresh(data), tables.console(), rounds, keep_running)
        _tell(import_module(_STORIES[product]).staged, telling, begin)


def _tell(staged: "Staged", telling: "Telling", begin: float) -> None:
    """Tell a story; its data stay only where something has gone wrong, or everything runs on."""
    import httpx

    from orchestrator.cli.story import StoryError
    from orchestrator.client import BuildError, CallError, StoreError
    from orchestrator.embedded.federation import remove_data
    from orchestrator.embedded.processes import ProcessError

    data, place = telling.folder, telling.place
    kept = telling.stays
    try:
        with staged(telling) as story:
            telling.say(f"Ready after {time.monotonic() - begin:.1f} s")
            for old in of_demos(data):
                if old != place:
                    remove_data(old)
            faults = story.tell()
            kept = kept or bool(faults)
            if telling.stays:
                telling.say(f"\nEverything runs on until Ctrl-C or `{command('down', data)}`; {story.further}")
                story.federation.stay()
        telling.say(f"Everything has ended, {time.monotonic() - begin:.1f} s after the start")
    except (ProcessError, CallError, StoreError, BuildError, StoryError, httpx.HTTPError, OSError) as error:
        kept = True
        raise Fault(f"{error}{_remains(place)}") from error
    finally:
        if not kept:
            remove_data(place)
    if faults:
        raise Fault(f"{'; '.join(faults)}{_remains(place)}")


def _remains(place: Path) -> str:
    return f"\nIts data and logs stay in {place} until the next demo" if place.exists() else ""
